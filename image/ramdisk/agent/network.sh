# An address for the NIC that booted. Sets $nic and $nic_mac to the one in use, $address_seconds to how long that took.

nic_patience=60 # seconds to wait for the boot NIC's driver

# 01-52-54-00-00-00-01 (hardware type, then MAC) as 52:54:00:00:00:01
boot_mac() {
  argument BOOTIF | tr 'A-F-' 'a-f:' | sed 's/^[0-9a-f]\{2\}:\(\([0-9a-f]\{2\}:\)\{5\}[0-9a-f]\{2\}\)$/\1/'
}

# Names of the NICs that are hardware.
nic_names() {
  local path
  for path in /sys/class/net/*/device; do
    [ -e "$path" ] || continue
    path=${path%/device}
    echo "${path##*/}"
  done
}

nic_with_mac() {
  local name mac
  for name in $(nic_names); do
    get mac "/sys/class/net/$name/address"
    if [ "$mac" = "$1" ]; then
      echo "$name"
      return 0
    fi
  done
  return 1
}

all_links_up() {
  local name
  ip link set lo up
  for name in $(nic_names); do ip link set "$name" up 2>/dev/null; done
}

uptime_seconds() { cut -d . -f 1 /proc/uptime; }

# How often the link of a NIC went down; the kernel counts from the driver's first word on.
remember_link_losses() {
  local name
  for name in $(nic_names); do cp "/sys/class/net/$name/carrier_down_count" "/run/losses.$name" 2>/dev/null; done
}
link_losses() {
  local before now
  get before "/run/losses.$nic"
  get now "/sys/class/net/$nic/carrier_down_count"
  echo $((${now:-0} - ${before:-0}))
}

# ask NIC SECONDS: three requests, SECONDS apart. On success udhcpc stays and renews the lease.
ask() {
  local job
  rm -f /run/lease
  udhcpc -f -n -i "$1" -V seedling-ramdisk -O mtu -s /agent/lease -t 3 -T "$2" >/dev/null 2>&1 &
  job=$!
  while [ ! -e /run/lease ]; do
    kill -0 $job 2>/dev/null || return 1
    sleep 0.1
  done
  nic=$1
  get nic_mac "/sys/class/net/$1/address"
  address_seconds=$(($(uptime_seconds) - asking_since))
  say "$nic ($nic_mac) has the address $(cat /run/lease)"
}

# The NIC that booted gets three minutes for itself: a switch that runs the spanning tree protocol forwards nothing
# for 30 to 50 s after each link-up. Only then the others are tried as well, for ever.
get_address() {
  local wanted boot_nic='' pause other
  wanted=$(boot_mac)
  wait_for_nic "$wanted"
  boot_nic=$(nic_with_mac "$wanted") || say "no NIC has the address of BOOTIF (${wanted:-not given}): trying all"
  all_links_up
  asking_since=$(uptime_seconds)
  remember_link_losses
  for pause in 2 4 8 16 30; do
    [ -n "$boot_nic" ] || break
    say "asking for an address on $boot_nic ($wanted), every $pause s"
    ask "$boot_nic" $pause && return 0
  done
  [ -z "$boot_nic" ] || say "no answer on $boot_nic in three minutes: trying the other NICs too"
  while :; do
    all_links_up
    for other in $boot_nic $(nic_names); do
      say "asking for an address on $other"
      ask "$other" 5 && return 0
    done
    sleep 1
  done
}

wait_for_nic() {
  local waited=0
  until nic_with_mac "$1" >/dev/null; do
    [ $waited -lt $((nic_patience * 5)) ] || return 0
    [ $((waited % 50)) = 49 ] && say "waiting for a NIC with the address ${1:-(no BOOTIF given)}"
    # without BOOTIF any NIC will do
    [ -z "$1" ] && [ -n "$(nic_names)" ] && return 0
    sleep 0.2
    waited=$((waited + 1))
  done
}
