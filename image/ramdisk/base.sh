# shellcheck shell=bash
# The part of the ramdisk that comes from Debian packages: programs with their libraries, drivers with what they
# depend on. Needs what build has set: $here, $log, $work, $packages, $programs, $chosen.

# A program of the tree, with the tree's own libraries: what is built does not depend on the build machine's suite.
from_tree() {
  local name=$1 path=$2
  shift 2
  "$loader" --library-path "$libraries" --argv0 "$name" "$tree$path" "$@"
}

# make_base: leaves the kernel in $work/vmlinuz, the rest in $work/base.img, and sets $release.
make_base() {
  local root=$work/base modules kernels program library name
  tree=$work/tree
  loader=$tree/usr/lib64/ld-linux-x86-64.so.2
  libraries=$tree/usr/lib/x86_64-linux-gnu
  mkdir -p "$tree" "$root"

  begin "downloading $(wc -l <<<"$chosen") packages, about 140 MB the first time"
  debian_fetch "${packages[@]}" >>"$log" 2>&1
  begin 'unpacking'
  while read -r _ _ file; do
    dpkg-deb -x "$debian_dir/cache/archives/$file" "$tree" 2>>"$log"
  done <<<"$chosen"
  kernels=("$tree"/usr/lib/modules/*)
  release=$(basename "${kernels[0]}")
  [ "${#kernels[@]}" = 1 ] && [ -s "$tree/boot/vmlinuz-$release" ] ||
    { say "expected exactly one kernel in linux-image-amd64, found: ${kernels[*]##*/}" && exit 1; }

  begin 'choosing programs, libraries and drivers'
  mkdir -p "$root"/{dev,proc,sys,run,tmp,usr/bin,usr/lib64,usr/lib/x86_64-linux-gnu}
  ln -s usr/bin "$root/bin"
  ln -s usr/bin "$root/sbin"
  ln -s usr/lib "$root/lib"
  ln -s usr/lib64 "$root/lib64"
  ln -s bin "$root/usr/sbin"
  cp "$loader" "$root/usr/lib64/"

  for program in "${programs[@]}"; do
    cp -L "$tree$program" "$root/usr/bin/"
    # libc.so.6 => /…/libc.so.6 (0x…)
    "$loader" --library-path "$libraries" --list "$tree$program" |
      sed -nE 's|^[^ ]+ => ([^ ]+) .*|\1|p'
  done | LC_ALL=C sort -u >"$work/libraries"
  # kmod opens this one by itself, so it is in no list
  realpath -s "$libraries/liblzma.so.5" >>"$work/libraries"
  while read -r library; do
    cp -L "$library" "$root/usr/lib/x86_64-linux-gnu/"
  done <"$work/libraries"
  for name in modprobe depmod insmod lsmod rmmod modinfo; do ln -s kmod "$root/usr/bin/$name"; done
  for name in mcopy mdir mmd mtype; do ln -s mtools "$root/usr/bin/$name"; done
  # the applets' names for everything that has no real tool
  from_tree busybox /usr/bin/busybox --list | while read -r name; do
    [ -e "$root/usr/bin/$name" ] || ln -s busybox "$root/usr/bin/$name"
  done

  modules=usr/lib/modules/$release
  from_tree depmod /usr/bin/kmod -b "$tree/usr" "$release" 2>>"$log"
  listed modules.txt | awk -v all="$tree/$modules/modules.dep" '
    /^[[:space:]]*$/ { next }
    sub(/^-/, "") { leave[++leaves] = "kernel/" $1; next }
    { take[++takes] = "kernel/" $1 }
    function below(path, prefix) { return path == prefix ".ko.xz" || index(path, prefix "/") == 1 }
    END {
      while ((getline line <all) > 0) {
        split(line, part, ": *"); needs[part[1]] = part[2]
      }
      for (i = 1; i <= takes; i++) {
        found = 0
        for (path in needs) if (below(path, take[i])) {
          found = 1; wanted = 1
          for (j = 1; j <= leaves; j++) if (below(path, leave[j])) wanted = 0
          if (!wanted) continue
          print path
          n = split(needs[path], need, " ")
          for (k = 1; k <= n; k++) print need[k]
        }
        if (!found) { print "modules.txt names " take[i] ", which this kernel does not have" >"/dev/stderr"; bad = 1 }
      }
      exit bad
    }' 2>>"$log" | LC_ALL=C sort -u >"$work/modules"
  while read -r module; do
    install -D -m 644 "$tree/$modules/$module" "$root/$modules/$module"
  done <"$work/modules"
  cp "$tree/$modules"/modules.{builtin,builtin.modinfo,order} "$root/$modules/"
  from_tree depmod /usr/bin/kmod -b "$root/usr" "$release" 2>>"$log"
  rm "$root/$modules"/modules.{dep,alias,symbols,builtin.alias,order,symbols.bin} -f

  begin 'packing the base'
  pack "$root" >"$work/base.cpio"
  from_tree zstd /usr/bin/zstd -q -T0 -19 --check "$work/base.cpio" -o "$work/base.img" 2>>"$log"
  cp "$tree/boot/vmlinuz-$release" "$work/vmlinuz"
}
