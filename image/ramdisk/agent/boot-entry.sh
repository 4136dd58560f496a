# The firmware's own boot entry for the installed system. BIOS machines have none and need none.

boot_label=Seedling
esp_type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B

write_boot_entry() {
  local number start loader old
  [ "$(boot_mode)" = uefi ] || return 0
  mount_efivars
  read_partitions
  read -r number start <<-END
	$(jq -r --arg type $esp_type '.partitiontable.partitions | to_entries[] |
	  select(.value.type == $type or .value.type == "ef") |
	  "\(.value.node | capture("(?<n>[0-9]+)$").n) \(.value.start)"' /run/partitions | head -n 1)
	END
  [ -n "$number" ] ||
    fail boot-entry 'the image has no EFI system partition, and this machine boots by UEFI: set it to BIOS or take another image'
  loader=$(find_loader $((start * sector_size)))
  [ -n "$loader" ] ||
    fail boot-entry "partition $number of the image, its EFI system partition, holds no boot loader for $(uname -m)"
  say "making the boot entry for $loader"
  for old in $(our_entries); do
    efibootmgr -q -b "$old" -B
  done
  efibootmgr -q --create --disk "$disk" --part "$number" --label $boot_label --loader "$loader" 2>/run/efi.err ||
    fail boot-entry "the firmware does not take a boot entry: $(tail -n 2 /run/efi.err)"
  # First in the order it is now; and the next boot goes there even where firmware or BMC puts the network before it again.
  efibootmgr -q --bootnext "$(our_entries | head -n 1)" 2>/run/efi.err ||
    say "the firmware does not take a next boot entry: $(tail -n 2 /run/efi.err)"
}

# The numbers of the entries with our label.
our_entries() {
  efibootmgr | sed -n "s/^Boot\([0-9A-F]\{4\}\)[* ] $boot_label\(\t.*\)\{0,1\}$/\1/p"
}

# find_loader OFFSET: a distribution's own loader before the fallback one, the signed shim before all; as the
# firmware writes paths.
find_loader() {
  local esp=$disk@@$1 file arch=x64
  [ "$(uname -m)" != aarch64 ] || arch=aa64
  mdir -i "$esp" -/ -b ::/EFI 2>/dev/null | sed 's|^::/EFI/||' |
    LC_ALL=C sort >/run/esp
  for file in shim$arch.efi grub$arch.efi systemd-boot$arch.efi; do
    file=$(grep -vi '^boot/' /run/esp | grep -ix "[^/]*/$file" | head -n 1)
    [ -z "$file" ] || break
  done
  [ -n "$file" ] || file=$(grep -ix "boot/boot$arch\.efi" /run/esp)
  [ -z "$file" ] || echo "/EFI/$file" | tr / '\\'
}
