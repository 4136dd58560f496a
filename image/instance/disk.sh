# Puts a whole disk together from directories, without a block device: partition table, boot loaders, filesystems.
#
#   LBA 0      boot.img, GRUB's first stage, told where its core is
#   partition 1  1 MiB   BIOS boot: GRUB's core
#   partition 2          ESP, FAT32: from $work/esp
#   partition 3          root, ext4: from $work/root. Last, so that it can grow
#
# 512-byte sectors: firmware and kernel read such a table on 512-byte and 512e disks, not on 4K-native ones.

esp_mib=40 # FAT32 needs 65,525 clusters: 33 MiB at one sector each

# bios_core TREE PREFIX MODULE...: makes $work/core.img and takes boot.img, with TREE's own GRUB; the menu is grub.cfg in PREFIX, which
# names a partition and no disk: GRUB takes the one it was started from, whatever number the firmware gave it.
bios_core() {
  local tree=$1 prefix=$2
  shift 2
  chroot "$tree" grub-mkimage -O i386-pc -p "$prefix" -o /tmp/core.img biosdisk "$@"
  mv "$tree/tmp/core.img" "$work/core.img"
  cp "$tree/usr/lib/grub/i386-pc/boot.img" "$work/boot.img"
}

# poke FILE OFFSET HEX: overwrites bytes in place.
poke() {
  printf '%b' "$(sed 's/../\\x&/g' <<<"$3")" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# little_endian_64 NUMBER: as 16 hex digits.
little_endian_64() {
  printf '%016x' "$1" | sed -E 's/(..)(..)(..)(..)(..)(..)(..)(..)/\8\7\6\5\4\3\2\1/'
}

# write_bios_loader DISK BIOS_LBA END_LBA: puts boot.img and core.img where they belong. What grub-bios-setup would do, which insists on a
# block device. In boot.img: where the core starts (offset 0x5c, 64 bits), and two NOPs at 0x66 that leave the firmware's boot drive
# number as it is, unless it says "floppy". In the core's own first sector: where the rest of it starts (the block list's first
# entry, at 0x1f4).
write_bios_loader() {
  local disk=$1 bios_lba=$2 end_lba=$3
  [ "$(stat -c %s "$work/core.img")" -le $(((end_lba - bios_lba) * 512)) ] || { echo 'GRUB core larger than its partition' && return 1; }
  poke "$work/boot.img" $((0x5c)) "$(little_endian_64 "$bios_lba")"
  poke "$work/boot.img" $((0x66)) 9090
  poke "$work/core.img" $((0x1f4)) "$(little_endian_64 $((bios_lba + 1)))"
  dd if="$work/boot.img" of="$disk" bs=440 count=1 conv=notrunc status=none
  dd if="$work/core.img" of="$disk" bs=512 seek="$bios_lba" conv=notrunc status=none
}

# write_disk FILE: makes the raw disk. Reads $work/{esp,root,boot.img,core.img}, root_mib, root_uuid.
write_disk() {
  local disk=$1 bios_lba=2048 esp_lba=4096 root_lba=$((4096 + esp_mib * 2048))
  local sectors=$((root_lba + root_mib * 2048 + 2048))

  truncate -s $((sectors * 512)) "$disk"
  sgdisk --clear --disk-guid="$(uuid disk)" \
    --new=1:$bios_lba:$((esp_lba - 1)) --typecode=1:ef02 --change-name=1:bios --partition-guid=1:"$(uuid bios)" \
    --new=2:$esp_lba:$((root_lba - 1)) --typecode=2:ef00 --change-name=2:esp --partition-guid=2:"$(uuid esp)" \
    --new=3:$root_lba:$((root_lba + root_mib * 2048 - 1)) --typecode=3:8304 --change-name=3:root --partition-guid=3:"$(uuid partition)" \
    "$disk"

  write_bios_loader "$disk" $bios_lba $esp_lba

  mkfs.vfat -F 32 -s 1 -n ESP -i "$(uuid vfat | cut -c1-8)" -h $esp_lba --offset $esp_lba "$disk" $((esp_mib * 1024))
  mcopy -i "$disk@@$((esp_lba * 512))" -s -Q -m "$work"/esp/* ::

  # The features are named, so that the image does not depend on the build machine's mke2fs.conf. The file is sparse, so unwritten
  # inode tables are zero already and nothing is left for the kernel to zero at first boot.
  mke2fs -q -t ext4 -b 4096 -I 256 -m 1 -L root -U "$root_uuid" \
    -O none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum \
    -J size=16 -E "offset=$((root_lba * 512)),hash_seed=$(uuid hash),lazy_itable_init=0,assume_storage_prezeroed=1" \
    -d "$work/root" "$disk" ${root_mib}m
}
