# The body of the hello call: what this machine is, from /sys and /proc alone. All strings are null when the machine
# does not say.

efivars=/sys/firmware/efi/efivars

boot_mode() { [ -d /sys/firmware/efi ] && echo uefi || echo bios; }

# The fifth byte of the variable is its value: the first four are attributes.
secure_boot() {
  local variable=$efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
  mount_efivars
  [ -r "$variable" ] && [ "$(od -An -t u1 -j 4 -N 1 "$variable" | tr -d ' ')" = 1 ] && echo true || echo false
}

mount_efivars() {
  if [ -d $efivars ] && ! mountpoint_of_efivars; then
    modprobe efivarfs 2>/dev/null
    mount -t efivarfs efivarfs $efivars
  fi
}
mountpoint_of_efivars() { grep -q " $efivars efivarfs " /proc/mounts; }

# A file's first line without the blanks around it and without what is not printable.
attribute() {
  local value=''
  read -r value 2>/dev/null <"$1" || [ -n "$value" ] || return 0
  printf '%s' "$value"
}

# All the memory there is, not what the kernel has left over: blocks of memory that are online.
memory_mib() {
  local block
  block=$(attribute /sys/devices/system/memory/block_size_bytes)
  if [ -n "$block" ]; then
    echo $((0x$block / 1048576 * $(grep -lx online /sys/devices/system/memory/memory*/state | wc -l)))
  else
    awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo
  fi
}

interfaces() {
  local name path driver
  for name in $(nic_names); do
    path=/sys/class/net/$name
    driver=$(readlink "$path/device/driver")
    printf '%s\t%s\t%s\t%s\t%s\n' "$name" "$(attribute "$path/address")" "$(attribute "$path/carrier" 2>/dev/null)" \
      "${driver##*/}" "$(attribute "$path/speed" 2>/dev/null)"
  done
}

# disk_serial NAME: NVMe, virtio and SCSI keep it in three places. Page 80 has four bytes before the serial.
disk_serial() {
  local path=/sys/block/$1 file
  for file in "$path/serial" "$path/device/serial"; do
    if [ -r "$file" ]; then
      attribute "$file"
      return 0
    fi
  done
  [ -r "$path/device/vpd_pg80" ] && tail -c +5 "$path/device/vpd_pg80" | tr -cd '\041-\176 ' | sed 's/^ *//; s/ *$//'
}

# disk_wwn NAME: in the form the installed system shows. Names made up of model and serial (t10) are none.
disk_wwn() {
  local path=/sys/block/$1 id
  id=$(attribute "$path/wwid" 2>/dev/null)
  [ -n "$id" ] || id=$(attribute "$path/device/wwid" 2>/dev/null)
  case $id in
  naa.*) echo "0x${id#naa.}" ;;
  eui.* | uuid.* | nvme.*) echo "$id" ;;
  esac
}

disk_size() { echo $(($(cat "/sys/block/$1/size") * 512)); }

disk_signatures() {
  local nodes="/dev/$1" part
  for part in /sys/block/"$1"/"$1"*; do
    [ -e "$part/partition" ] && nodes="$nodes /dev/${part##*/}"
  done
  wipefs --noheadings --output TYPE $nodes 2>/dev/null | grep -v '^PMBR$' | awk '!seen[$1]++' | tr '\n' ' '
}

disks() {
  local name path
  for name in $(disk_names); do
    path=/sys/block/$name
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$name" "$(disk_size "$name")" "$(disk_serial "$name")" \
      "$(disk_wwn "$name")" "$(attribute "$path/device/model" 2>/dev/null)" \
      "$(attribute "$path/device/vendor" 2>/dev/null)" "$(cat "$path/queue/rotational")" "$(cat "$path/removable")" \
      "$(cat "$path/ro")" "$(cat "$path/queue/logical_block_size")" "$(disk_signatures "$name")"
  done
}

make_inventory() {
  local dmi=/sys/class/dmi/id
  interfaces >/run/interfaces
  disks >/run/disks
  jq -n --rawfile interfaces /run/interfaces --rawfile disks /run/disks \
    --arg uuid "$(attribute $dmi/product_uuid | tr A-F a-f)" --arg serial "$(attribute $dmi/product_serial)" \
    --arg vendor "$(attribute $dmi/sys_vendor)" --arg model "$(attribute $dmi/product_name)" \
    --arg bootMode "$(boot_mode)" --arg bootInterface "$nic_mac" --arg arch "$(uname -m)" \
    --argjson secureBoot "$(secure_boot)" --argjson cpus "$(nproc)" \
    --arg cpuModel "$(sed -n '/^model name/{s/^[^:]*: *//p;q}' /proc/cpuinfo)" \
    --argjson memoryMiB "$(memory_mib)" --arg clock "$(date -u +%Y-%m-%dT%H:%M:%SZ)" '
    def text: if . == null or . == "" then null else . end;
    def rows: split("\n") | map(select(. != "") | split("\t"));
    { uuid: $uuid | text, serial: $serial | text, vendor: $vendor | text, model: $model | text,
      bootMode: $bootMode, bootInterface: $bootInterface, arch: $arch, secureBoot: $secureBoot,
      cpus: $cpus, cpuModel: $cpuModel | text, memoryMiB: $memoryMiB,
      interfaces: $interfaces | rows | map({ name: .[0], mac: .[1], carrier: (.[2] == "1"), driver: .[3] | text,
        speedMbps: (.[4] | if test("^[0-9]+$") then tonumber else null end) }),
      disks: $disks | rows | map({ path: ("/dev/" + .[0]), size: .[1] | tonumber, serial: .[2] | text,
        wwn: .[3] | text, model: .[4] | text, vendor: .[5] | text, rotational: (.[6] == "1"),
        removable: (.[7] == "1"), readOnly: (.[8] == "1"), logicalSectorSize: .[9] | tonumber,
        signatures: .[10] | split(" ") | map(select(. != "")) }),
      clock: $clock }'
}

# The server's time, from the header of its answer, for this system and for the machine's own clock.
set_clock() {
  local date
  date=$(sed -n 's/^[Dd]ate: *\(.*GMT\).*/\1/p' /run/header | tail -n 1)
  [ -n "$date" ] && date -u -D '%a, %d %b %Y %H:%M:%S GMT' -s "$date" >/dev/null && hwclock -u -w 2>/dev/null
}
