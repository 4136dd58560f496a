# Drivers and disks. Every device in /sys names the driver it wants (modalias); new devices appear as drivers load.

disk_settle=3    # seconds without a new disk until the list counts as complete
disk_patience=30 # seconds to wait for the first disk

# get VARIABLE FILE: the file's first line without the blanks around it; empty when there is none. No process is
# started for it: a machine has hundreds of these.
get() { { read -r "$1" || :; } 2>/dev/null <"$2" || eval "$1="; }

# Loads drivers for a minute, as devices appear. Runs beside the rest.
load_drivers() {
  local round=0
  while [ $round -lt 36 ]; do
    coldplug
    round=$((round + 1))
    [ $round -lt 6 ] && sleep 0.5 || sleep 2
  done
}

coldplug() {
  find /sys/devices -name modalias -exec cat {} + 2>/dev/null | sort -u >/run/aliases.new
  if ! cmp -s /run/aliases.new /run/aliases; then
    mv /run/aliases.new /run/aliases
    # one process for all; names without a driver are no error
    xargs -r modprobe -a -b -q </run/aliases 2>/dev/null
  fi
}

# The names of all disks: no partitions, nothing made of memory or of other disks.
disk_names() {
  local path hidden
  for path in /sys/block/*; do
    case ${path##*/} in loop* | ram* | zram* | dm-* | md* | nbd* | '*') continue ;; esac
    get hidden "$path/hidden"
    [ "$hidden" = 1 ] || echo "${path##*/}"
  done
}

# One that an image can be written to: not removable, not read-only, not empty.
is_target() {
  local sectors removable read_only
  get sectors "/sys/block/$1/size"
  get removable "/sys/block/$1/removable"
  get read_only "/sys/block/$1/ro"
  [ "${sectors:-0}" != 0 ] && [ "$removable" = 0 ] && [ "$read_only" = 0 ]
}

# RAID controllers show their disks late, one by one: wait until no more come.
wait_for_disks() {
  local waited=0 quiet=0 names before='' name found
  while :; do
    names=$(disk_names)
    found=0
    for name in $names; do is_target "$name" && found=1; done
    if [ "$names" = "$before" ]; then quiet=$((quiet + 1)); else quiet=0; fi
    before=$names
    if [ $found = 1 ] && [ $quiet -ge $disk_settle ]; then return 0; fi
    if [ $found = 0 ] && [ $waited -ge $disk_patience ]; then
      say "no disk to write to after $disk_patience s"
      return 0
    fi
    [ $((waited % 10)) = 9 ] && say 'waiting for disks'
    sleep 1
    waited=$((waited + 1))
  done
}
