# shellcheck shell=bash
# The part of the ramdisk that comes from Debian packages: programs with their libraries, drivers with what they
# depend on. Needs what build has set: $here, $log, $work, $packages, $programs, $chosen.

# The dynamic loader, below /usr, and the folder of the libraries of an architecture.
loader_of() { case $1 in amd64) echo lib64/ld-linux-x86-64.so.2 ;; arm64) echo lib/ld-linux-aarch64.so.1 ;; esac; }
libraries_of() { case $1 in amd64) echo lib/x86_64-linux-gnu ;; arm64) echo lib/aarch64-linux-gnu ;; esac; }

# unpack FOLDER: the packages in the list on stdin, which debian_fetch has fetched
unpack() {
  local file
  mkdir -p "$1"
  while read -r _ _ file; do
    dpkg-deb -x "$debian_dir/cache/archives/$file" "$1" 2>>"$log"
  done
}

# with_tool NAME PATH ARGUMENT…: a program of the suite that this machine can run, with the suite's own libraries: what is built does not
# depend on the build machine's suite.
with_tool() {
  local name=$1 path=$2 usr=$tools/usr
  shift 2
  "$usr/$(loader_of "$own_arch")" --library-path "$usr/$(libraries_of "$own_arch")" --argv0 "$name" "$tools$path" "$@"
}

# Sets $tools: the tree itself where this machine can run its programs, else a tree of this machine's architecture.
get_tools() {
  own_arch=$(dpkg --print-architecture)
  tools=$tree
  [ "$own_arch" != "$arch" ] || return 0
  [ -n "$(loader_of "$own_arch")" ] ||
    { say "this machine is $own_arch; the ramdisk can be built on amd64 and arm64" && exit 1; }
  tools=$work/tools
  setup_suite "$own_arch"
  debian_refresh "$max_age" >>"$log" 2>&1
  debian_fetch busybox kmod zstd >>"$log" 2>&1
  debian_resolve busybox kmod zstd 2>>"$log" | unpack "$tools"
  setup_suite "$arch"
}

# libraries_for FILE…: the paths of the libraries that these need, and those need, found by name in $libraries. Read from the files, not asked
# of the dynamic loader: that would run them.
libraries_for() {
  local file name queue=("$@")
  declare -A seen=()
  while [ ${#queue[@]} -gt 0 ]; do
    file=${queue[0]}
    queue=("${queue[@]:1}")
    while read -r name; do
      [ -z "${seen[$name]:-}" ] || continue
      seen[$name]=yes
      # the loader has a name too, and is there
      [ "$name" != "${loader##*/}" ] || continue
      [ -e "$libraries/$name" ] || { say "no package holds $name, which ${file##*/} needs" && return 1; }
      echo "$libraries/$name"
      queue+=("$libraries/$name")
    done < <(readelf --dynamic --wide "$file" | sed -nE 's/.*\(NEEDED\).*\[(.*)\]$/\1/p')
  done
}

# make_base: leaves the kernel in $work/vmlinuz, the rest in $work/base.img, and sets $release.
make_base() {
  local root=$work/base modules kernels library name
  tree=$work/tree
  loader=usr/$(loader_of "$arch")
  libraries=$tree/usr/$(libraries_of "$arch")

  begin "downloading $(wc -l <<<"$chosen") packages, about 140 MB the first time"
  debian_fetch "${packages[@]}" >>"$log" 2>&1
  begin 'unpacking'
  unpack "$tree" <<<"$chosen"
  get_tools
  kernels=("$tree"/usr/lib/modules/*)
  release=$(basename "${kernels[0]}")
  [ "${#kernels[@]}" = 1 ] && [ -s "$tree/boot/vmlinuz-$release" ] ||
    { say "expected exactly one kernel in linux-image-$arch, found: ${kernels[*]##*/}" && exit 1; }

  begin 'choosing programs, libraries and drivers'
  mkdir -p "$root"/{dev,proc,sys,run,tmp,usr/bin,usr/lib} "$root/usr/$(libraries_of "$arch")"
  ln -s usr/bin "$root/bin"
  ln -s usr/bin "$root/sbin"
  ln -s usr/lib "$root/lib"
  ln -s bin "$root/usr/sbin"
  [ $arch != amd64 ] || { mkdir "$root/usr/lib64" && ln -s usr/lib64 "$root/lib64"; }
  cp "$tree/$loader" "$root/$loader"

  cp -L "${programs[@]/#/$tree}" "$root/usr/bin/"
  libraries_for "${programs[@]/#/$tree}" >"$work/libraries"
  # kmod opens this one by itself, so it is in no list
  echo "$libraries/liblzma.so.5" >>"$work/libraries"
  while read -r library; do
    cp -L "$library" "$root/usr/$(libraries_of "$arch")/"
  done <"$work/libraries"
  for name in modprobe depmod insmod lsmod rmmod modinfo; do ln -s kmod "$root/usr/bin/$name"; done
  for name in mcopy mdir mmd mtype; do ln -s mtools "$root/usr/bin/$name"; done
  # the applets' names for everything that has no real tool
  with_tool busybox /usr/bin/busybox --list | while read -r name; do
    [ -e "$root/usr/bin/$name" ] || ln -s busybox "$root/usr/bin/$name"
  done

  modules=usr/lib/modules/$release
  with_tool depmod /usr/bin/kmod -b "$tree/usr" "$release" 2>>"$log"
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
  with_tool depmod /usr/bin/kmod -b "$root/usr" "$release" 2>>"$log"
  rm "$root/$modules"/modules.{dep,alias,symbols,builtin.alias,order,symbols.bin} -f

  begin 'packing the base'
  pack "$root" >"$work/base.cpio"
  with_tool zstd /usr/bin/zstd -q -T0 -19 --check "$work/base.cpio" -o "$work/base.img" 2>>"$log"
  cp "$tree/boot/vmlinuz-$release" "$work/vmlinuz"
}
