# The debian image: Debian 13 as its packages make it, with our files over it. Sourced by ../build.

build_trees() {
  local tree=$work/root kernel list
  list=$(grep -v '^#' "$here/debian/packages" | paste -sd,)
  # Our files go in before most packages are unpacked: they tell dpkg what to leave out and initramfs-tools what to put in.
  # shellcheck disable=SC2016 # the hooks' own $1
  export HERE=$here
  packages "$tree" --variant=apt --include="$list" --dpkgopt="$here/debian/files/etc/dpkg/dpkg.cfg.d/10-lean" \
    --essential-hook='"$HERE"/debian/overlay "$1"' --customize-hook='chroot "$1" /bin/sh -eu <"$HERE"/debian/customise'
  dpkg-query --admindir="$tree/var/lib/dpkg" --show --showformat='package ${Package} ${Version}\n' >"$work/manifest"
  kernel=$(basename "$tree"/usr/lib/modules/*)

  say 'adding the boot loaders'
  # For UEFI: Microsoft-signed shim, which starts Debian's signed GRUB beside it, which reads /EFI/debian/grub.cfg. Without shim's
  # fallback program in the removable-media folder: it would write boot entries of its own.
  local efi=$work/esp/EFI
  mkdir -p "$efi/BOOT" "$efi/debian" "$tree/boot/efi" "$tree/boot/grub"
  cp "$tree/usr/lib/shim/shimx64.efi.signed" "$efi/BOOT/BOOTX64.EFI"
  cp "$tree/usr/lib/shim/shimx64.efi.signed" "$efi/debian/shimx64.efi"
  cp "$tree/usr/lib/shim/mmx64.efi.signed" "$efi/BOOT/mmx64.efi"
  cp "$tree/usr/lib/shim/mmx64.efi.signed" "$efi/debian/mmx64.efi"
  cp "$tree/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed" "$efi/BOOT/grubx64.efi"
  cp "$tree/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed" "$efi/debian/grubx64.efi"
  printf 'search.fs_uuid %s root\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n' "$root_uuid" >"$efi/debian/grub.cfg"

  # For BIOS: all that the first menu needs is in the core; the modules are for the menus that update-grub makes.
  mkdir -p "$tree/boot/grub/i386-pc"
  cp "$tree"/usr/lib/grub/i386-pc/*.{mod,lst} "$tree/boot/grub/i386-pc/"
  bios_core "$tree" '(,gpt3)/boot/grub' ext2 part_gpt normal configfile linux echo test serial terminal
  sed "s/@ROOT@/$root_uuid/; s/@KERNEL@/$kernel/" "$here/debian/grub.cfg" >"$tree/boot/grub/grub.cfg"

  cat >"$tree/etc/fstab" <<FSTAB
UUID=$root_uuid / ext4 errors=remount-ro 0 1
UUID=$(uuid vfat | sed -E 's/(.{4})(.{4}).*/\U\1-\2/') /boot/efi vfat umask=0077,nofail,noauto,x-systemd.automount,x-systemd.idle-timeout=60 0 0
FSTAB
  root_mib=$(($(du -sm "$tree" | cut -f1) * 110 / 100 + 200)) # room until growpart has run, and the journal
}
