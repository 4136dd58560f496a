# shellcheck shell=bash
# Boot loaders out of Debian packages that are pinned by version and sha256. For image/ipxe/fetch and image/shim/fetch, which set
#
#   name      what is fetched, for messages, and the folder below .cache/image
#   here      the folder of pin.txt: a line a package: package, suite, version, sha256
#   fallback  the suite to take when the mirror no longer has the pinned version (suites move on); apt checks it against Debian's keys
#   loaders   lines: served name, then the paths below /usr/lib that the packages have had for it
#   beside    the same for files that are not served, and stand beside the folder; may be unset
#
# and then run fetch_loaders. It does nothing when all is there.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# shellcheck source=image/ramdisk/debian.sh
. "$top/image/ramdisk/debian.sh"

say() { echo "$name: $*" >&2; }
begin() { step=$1 && say "$1"; }
step='starting'
work=

# download SUITE PACKAGE[=VERSION]: into $work, through apt and its signature check
download() {
  debian_setup "$top/.cache/image/apt/$1" "$1" && debian_refresh 1440 &&
    (cd "$work" && debian_apt apt-get download "$2")
}

# fetch_package PACKAGE SUITE VERSION SHA256: leaves $work/PACKAGE_*.deb
fetch_package() {
  local package=$1 suite=$2 version=$3 sha256=$4
  begin "fetching $package $version of Debian $suite"
  # A mirror that lags may hold lists of a testing suite past their date. What is taken is pinned by its hash, so their age
  # does not matter here.
  debian_options=(-o Acquire::Check-Valid-Until=false)
  if download "$suite" "$package=$version" >>"$log" 2>&1; then
    if ! sha256sum --status -c <<<"$sha256  $(echo "$work/$package"_*.deb)"; then
      say "the package is not the pinned one: expected sha256 $sha256, see pin.txt" && exit 1
    fi
  else
    begin "fetching the $package of Debian $fallback, because the pinned one cannot be had (log: $log)"
    debian_options=()
    download "$fallback" "$package" >>"$log" 2>&1
  fi
}

# take FOLDER NAME SOURCE…: the first of the sources that is there, into $work/FOLDER
take() {
  local folder=$1 taken=$2 source
  shift 2
  mkdir -p "$work/$folder"
  for source in "$@"; do
    if [ -f "$work/tree/usr/lib/$source" ]; then
      install -m 644 "$work/tree/usr/lib/$source" "$work/$folder/$taken"
      return 0
    fi
  done
  say "the packages have none of: $*" && exit 1
}

fetch_loaders() {
  local out=$top/.cache/image/$name pins source_hash deb folder file sources others
  log=$out/.fetch.log
  trap 'status=$?; rm -rf "$work"; [ $status = 0 ] || say "failed while $step; the log is $log"' EXIT
  mkdir -p "$out"
  exec 9>"$out/.lock"
  flock 9
  pins=$(sed 's/#.*//; /^$/d' "$here/pin.txt")
  source_hash=$(cat "$here/pin.txt" "$here/fetch" "$top/image/loaders.sh" | sha256sum | cut -d ' ' -f 1)
  if [ "$(cat "$out/.source" 2>/dev/null)" = "$source_hash" ] && (cd "$out" && sha256sum --status -c .sums); then
    say "up to date: $out"
    return 0
  fi
  : >"$log"
  work=$(mktemp -d "$out/.work.XXXXXX")
  while read -r package suite version sha256; do
    fetch_package "$package" "$suite" "$version" "$sha256"
  done <<<"$pins"

  begin 'unpacking'
  for deb in "$work"/*.deb; do
    dpkg-deb -x "$deb" "$work/tree" 2>>"$log"
  done
  for folder in loaders beside; do
    while read -r file sources; do
      # shellcheck disable=SC2086 # a list of words
      [ -z "$file" ] || take $folder "$file" $sources
    done <<<"${!folder:-}"
  done
  rm -f "$out/.source" "$out"/*
  mv "$work"/loaders/* "$out/"
  others=()
  [ ! -d "$work/beside" ] || for file in "$work"/beside/*; do
    mv "$file" "$out/../"
    others+=("../${file##*/}")
  done
  (cd "$out" && sha256sum -- * "${others[@]}") >"$out/.sums"
  echo "$source_hash" >"$out/.source"
  say "done: $(cd "$out" && echo *) in $out"
}
