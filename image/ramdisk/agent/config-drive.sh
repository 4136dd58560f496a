# The config-drive: a small vfat partition at the disk's end in which the installed system finds its settings.

config_drive_bytes=$((64 * 1024 * 1024))
mebibyte=1048576

write_config_drive() {
  local label offset
  progress finishing 0 1
  say 'fetching the config-drive'
  call GET "$config_drive_url"
  label=$(jq -r .label /run/answer)
  unpack_files || fail config-drive 'the config-drive is not a list of files with paths of plain names'
  say 'adding the config-drive partition'
  add_partition "$label"
  make_volume "$label" 2>/run/volume.err || fail config-drive "the config-drive cannot be made: $(tail -n 2 /run/volume.err)"
  offset=$((partition_start * sector_size))
  write_zeros $offset $config_drive_bytes
  dd if=/run/config-drive.img of="$disk" bs=256K seek=$offset oflag=direct,seek_bytes conv=notrunc,sparse,fsync \
    status=none 2>/run/dd.err || fail disk-error "writing the config-drive to $disk failed: $(cat /run/dd.err)"
  blockdev --flushbufs "$disk"
  cmp -s -n $config_drive_bytes -i "0:$offset" /run/config-drive.img "$disk" ||
    fail config-drive 'the config-drive reads back other than it was written'
  rm -rf /run/config-drive /run/config-drive.img
}

# The answer's files below /run/config-drive. No path may lead out of it.
unpack_files() {
  local path content
  rm -rf /run/config-drive
  mkdir -p /run/config-drive
  jq -r '.files[] | [.path, .content] | @tsv' /run/answer >/run/files || return 1
  while read -r path content; do
    case /$path/ in */../* | */./* | *//*) return 1 ;; esac
    mkdir -p "/run/config-drive/$(dirname "$path")" && echo "$content" | base64 -d >"/run/config-drive/$path" || return 1
  done </run/files
}

# Sets $partition_start, in sectors. GPT: its second copy goes to the end of this disk first, which is seldom the
# end of the image.
add_partition() {
  local scheme last used size=$((config_drive_bytes / sector_size)) align=$((mebibyte / sector_size)) kind
  read_partitions || fail config-drive "the image has no partition table: $(cat /run/sfdisk.err)"
  scheme=$(jq -r .partitiontable.label /run/partitions)
  case $scheme in
  gpt)
    sfdisk -q --no-tell-kernel --relocate gpt-bak-std "$disk" >/dev/null 2>/run/sfdisk.err && read_partitions ||
      fail config-drive "the second GPT cannot be moved to the end of $disk: $(cat /run/sfdisk.err)"
    last=$(jq .partitiontable.lastlba /run/partitions)
    kind="type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, name=\"$1\""
    ;;
  dos)
    # an MBR counts sectors in 32 bits
    last=$((disk_size / sector_size - 1))
    [ $last -lt 4294967295 ] || last=4294967294
    kind='type=c'
    ;;
  *) fail config-drive "the image has a partition table of the kind '$scheme'; only gpt and dos are known" ;;
  esac
  partition_start=$(((last + 1 - size) / align * align))
  used=$(jq '[.partitiontable.partitions[]? | .start + .size] | max // 0' /run/partitions)
  [ "$used" -le "$partition_start" ] ||
    fail disk-too-small "the image's partitions leave no 64 MiB for the config-drive at the end of $disk"
  echo "start=$partition_start, size=$size, $kind" |
    sfdisk -q --append --no-reread --wipe never --wipe-partitions never "$disk" >/dev/null 2>/run/sfdisk.err ||
    fail config-drive "the config-drive partition cannot be added: $(cat /run/sfdisk.err)"
}

read_partitions() { sfdisk --json "$disk" >/run/partitions 2>/run/sfdisk.err; }

# Made in memory, then written as a whole. The sectors are the disk's: a volume with smaller ones cannot be mounted.
make_volume() {
  local image=/run/config-drive.img
  rm -f $image
  truncate -s $config_drive_bytes $image
  mkfs.vfat -S "$sector_size" -n "$1" -i "$(od -An -N 4 -t x4 /dev/urandom | tr -d ' ')" $image >/dev/null &&
    mcopy -s -Q -i $image /run/config-drive/* ::/
}
