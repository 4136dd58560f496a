# The tiny image: Debian's kernel, busybox and three scripts. The initramfs has the
# storage drivers, the root filesystem those for the network. Sourced by ../build.

build_trees() {
  local tree=$work/tree kernel
  mkdir -p "$work"/{esp/EFI/{BOOT,debian},root,initramfs}
  packages "$tree" --variant=extract --skip=cleanup/apt --include=base-files,linux-image-amd64,busybox-static,kmod,util-linux,grub-common,grub-pc-bin,grub-efi-amd64-signed,shim-signed,coreutils,cpio
  find "$tree/var/cache/apt/archives" -name '*.deb' -exec dpkg-deb --show --showformat 'package ${Package} ${Version}\n' {} \; >"$work/manifest"
  kernel=$(basename "$tree"/usr/lib/modules/*)
  chroot "$tree" depmod "$kernel" # unpacked only: no package's own script has run

  say 'making the initramfs and the root filesystem'
  userland "$tree" "$work/root"
  install -m 755 "$here"/tiny/{rc,udhcpc} "$work/root/etc/"
  install -m 644 "$here/tiny/inittab" "$work/root/etc/inittab"
  modules "$tree" "$kernel" "$work/root" network filesystem

  userland "$tree" "$work/initramfs"
  install -m 755 "$here/tiny/init" "$work/initramfs/init"
  modules "$tree" "$kernel" "$work/initramfs" storage
  mkdir -p "$work/root/boot/grub"
  (cd "$work/initramfs" && find . -print0 | sort -z | cpio --quiet --null --create --format=newc --owner=0:0) |
    zstd -q -9 -T0 >"$work/root/boot/initrd.img"
  cp "$tree/boot/vmlinuz-$kernel" "$work/root/boot/vmlinuz"
  sed "s/@ROOT@/$root_uuid/" "$here/tiny/grub.cfg" >"$work/root/boot/grub/grub.cfg"

  # For BIOS: GRUB's core carries all that the menu needs.
  bios_core "$tree" '(,gpt3)/boot/grub' ext2 part_gpt normal configfile linux echo test serial terminal

  # For UEFI, with Secure Boot or without: shim, which starts Debian's signed GRUB beside it, which reads /EFI/debian/grub.cfg.
  local efi=$work/esp/EFI
  cp "$tree/usr/lib/shim/shimx64.efi.signed" "$efi/BOOT/BOOTX64.EFI"
  cp "$tree/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed" "$efi/BOOT/grubx64.efi"
  printf 'search.fs_uuid %s root\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n' "$root_uuid" >"$efi/debian/grub.cfg"

  root_mib=$(($(du -sm "$work/root" | cut -f1) + 28)) # 16 of it journal
}

# userland TREE INTO: busybox with a link for every applet, blkid (busybox has none in Debian) with the libraries it needs.
userland() {
  local tree=$1 into=$2 library
  mkdir -p "$into"/{dev,etc,mnt,proc,root,run,sys,tmp,usr/bin,usr/lib,usr/lib64}
  ln -s usr/bin usr/lib usr/lib64 "$into/"
  ln -s usr/bin "$into/sbin"
  cp "$tree/usr/bin/busybox" "$into/usr/bin/busybox"
  chroot "$tree" busybox --list | while read -r applet; do
    [ "$applet" = busybox ] || ln -s busybox "$into/usr/bin/$applet"
  done
  cp "$tree/usr/sbin/blkid" "$into/usr/bin/blkid"
  chroot "$tree" /lib64/ld-linux-x86-64.so.2 --list /usr/sbin/blkid | grep -o '/[^ ]*' | sort -u | while read -r library; do
    mkdir -p "$into$(dirname "$library")"
    cp -L "$tree$library" "$into$library"
  done
}

# modules TREE KERNEL INTO SECTION...: the modules named in those sections of `modules`, with all that they need, unpacked (they are
# compressed once, by the image).
modules() {
  local tree=$1 kernel=$2 into=$3 sections names file
  shift 3
  sections=$(printf '|%s' "$@")
  names=$(awk -v wanted="^\\\\[(${sections#|})\\\\]" '/^\[/ { on = $0 ~ wanted; next } on && !/^#/' "$here/tiny/modules")
  # shellcheck disable=SC2086 # a list of words
  chroot "$tree" modprobe --set-version "$kernel" --show-depends --all $names | awk '$1 == "insmod" { print $2 }' | sort -u |
    while read -r file; do
      mkdir -p "$into$(dirname "$file")"
      xz -dc "$tree$file" >"$into${file%.xz}"
    done
  cp "$tree/usr/lib/modules/$kernel"/modules.{order,builtin,builtin.modinfo} "$into/usr/lib/modules/$kernel/"
  mv "$into/usr/lib/modules/$kernel" "$tree/tmp/"
  mkdir -p "$tree/tmp/depmod/lib/modules"
  mv "$tree/tmp/$kernel" "$tree/tmp/depmod/lib/modules/"
  chroot "$tree" depmod -b /tmp/depmod "$kernel"
  mv "$tree/tmp/depmod/lib/modules/$kernel" "$into/usr/lib/modules/"
}
