# The body of the hello call: what this machine is, from /sys and /proc alone. All strings are null when the machine
# does not say.

efivars=/sys/firmware/efi/efivars

boot_mode() { [ -d /sys/firmware/efi ] && echo uefi || echo bios; }

# The fifth byte of the variable is its value: the first four are attributes. efivarfs reads only from the beginning, so none is skipped.
secure_boot() {
  local variable=$efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
  mount_efivars
  [ -r "$variable" ] && [ "$(od -An -t u1 "$variable" | awk '{ print $5 }')" = 1 ] && echo true || echo false
}

mount_efivars() {
  if [ -d $efivars ] && ! mountpoint_of_efivars; then
    modprobe efivarfs 2>/dev/null
    mount -t efivarfs efivarfs $efivars
  fi
}
mountpoint_of_efivars() { grep -q " $efivars efivarfs " /proc/mounts; }

# All the memory there is, not what the kernel has left over: blocks of memory that are online.
memory_mib() {
  local block
  get block /sys/devices/system/memory/block_size_bytes
  if [ -n "$block" ]; then
    echo $((0x$block / 1048576 * $(grep -lx online /sys/devices/system/memory/memory*/state | wc -l)))
  else
    awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo
  fi
}

# One line a NIC, tab separated.
interfaces() {
  local name path mac carrier driver speed
  for name in $(nic_names); do
    path=/sys/class/net/$name
    get mac "$path/address"
    get carrier "$path/carrier"
    get speed "$path/speed"
    driver=$(readlink "$path/device/driver")
    printf '%s\t%s\t%s\t%s\t%s\n' "$name" "$mac" "$carrier" "${driver##*/}" "$speed"
  done
}

# look_at NAME: sets $size, $serial and $wwn of a disk. NVMe, virtio and SCSI keep the serial in three places; page 80
# has four bytes before it. The WWN has the form the installed system shows; a name made up of model and serial (t10)
# is none.
look_at() {
  local path=/sys/block/$1 id
  get size "$path/size"
  size=$((size * 512))
  get serial "$path/serial"
  [ -n "$serial" ] || get serial "$path/device/serial"
  if [ -z "$serial" ] && [ -r "$path/device/vpd_pg80" ]; then
    serial=$(tail -c +5 "$path/device/vpd_pg80" | tr -cd '\041-\176 ' | sed 's/^ *//; s/ *$//')
  fi
  get id "$path/wwid"
  [ -n "$id" ] || get id "$path/device/wwid"
  case $id in
  naa.*) wwn=0x${id#naa.} ;;
  eui.* | uuid.* | nvme.*) wwn=$id ;;
  *) wwn= ;;
  esac
}

disk_signatures() {
  local nodes="/dev/$1" part
  for part in /sys/block/"$1"/"$1"*; do
    [ -e "$part/partition" ] && nodes="$nodes /dev/${part##*/}"
  done
  wipefs --noheadings --output TYPE $nodes 2>/dev/null | awk '$1 != "PMBR" && !seen[$1]++ { printf "%s ", $1 }'
}

# One line a disk, tab separated.
disks() {
  local name path size serial wwn model vendor rotational removable usb read_only sector
  for name in $(disk_names); do
    path=/sys/block/$name
    look_at "$name"
    get model "$path/device/model"
    get vendor "$path/device/vendor"
    get rotational "$path/queue/rotational"
    get removable "$path/removable"
    get read_only "$path/ro"
    get sector "$path/queue/logical_block_size"
    case $(readlink -f "$path") in */usb[0-9]*) usb=1 ;; *) usb=0 ;; esac
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$name" "$size" "$serial" "$wwn" "$model" "$vendor" \
      "$rotational" "$removable" "$usb" "$read_only" "$sector" "$([ "$size" = 0 ] || disk_signatures "$name")"
  done
}

make_inventory() {
  local dmi=/sys/class/dmi/id uuid serial vendor model
  get uuid $dmi/product_uuid
  get serial $dmi/product_serial
  get vendor $dmi/sys_vendor
  get model $dmi/product_name
  interfaces >/run/interfaces
  disks >/run/disks
  jq -n --rawfile interfaces /run/interfaces --rawfile disks /run/disks \
    --arg uuid "$uuid" --arg serial "$serial" --arg vendor "$vendor" --arg model "$model" \
    --arg bootMode "$(boot_mode)" --arg bootInterface "$nic_mac" --arg arch "$(uname -m)" \
    --argjson secureBoot "$(secure_boot)" --argjson cpus "$(nproc)" \
    --arg cpuModel "$(sed -n '/^model name/{s/^[^:]*: *//p;q}' /proc/cpuinfo)" \
    --argjson memoryMiB "$(memory_mib)" \
    --argjson addressSeconds "$address_seconds" --argjson linkLosses "$(link_losses)" --arg clock "$(date -u +%Y-%m-%dT%H:%M:%SZ)" '
    def text: if . == null or . == "" then null else . end;
    def rows: split("\n") | map(select(. != "") | split("\t"));
    { uuid: $uuid | ascii_downcase | text, serial: $serial | text, vendor: $vendor | text, model: $model | text,
      bootMode: $bootMode, bootInterface: $bootInterface, arch: $arch, secureBoot: $secureBoot,
      cpus: $cpus, cpuModel: $cpuModel | text, memoryMiB: $memoryMiB, addressSeconds: $addressSeconds, linkLosses: $linkLosses,
      interfaces: $interfaces | rows | map({ name: .[0], mac: .[1], carrier: (.[2] == "1"), driver: .[3] | text,
        speedMbps: (.[4] | if test("^[0-9]+$") then tonumber else null end) }),
      disks: $disks | rows | map({ path: ("/dev/" + .[0]), size: .[1] | tonumber, serial: .[2] | text,
        wwn: .[3] | text, model: .[4] | text, vendor: .[5] | text, rotational: (.[6] == "1"),
        removable: (.[7] == "1"), usb: (.[8] == "1"), readOnly: (.[9] == "1"), logicalSectorSize: .[10] | tonumber,
        signatures: .[11] | split(" ") | map(select(. != "")) }),
      clock: $clock }'
}

# The server's time, from the header of its answer, for this system and for the machine's own clock.
set_clock() {
  local date
  date=$(sed -n 's/^[Dd]ate: *\(.*GMT\).*/\1/p' /run/header | tail -n 1)
  [ -n "$date" ] && date -u -D '%a, %d %b %Y %H:%M:%S GMT' -s "$date" >/dev/null && hwclock -u -w 2>/dev/null
}
