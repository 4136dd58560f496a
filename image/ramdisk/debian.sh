# shellcheck shell=bash
# Packages of any Debian suite, whatever suite this machine runs: a private apt state folder with its own
# sources. The mirror is the one this machine's apt uses; apt checks every signature with Debian's archive keys.
#
#   debian_setup FOLDER SUITE [ARCH]    point the functions below at a suite (of amd64, if not said)
#   debian_refresh [MAX_AGE_MINUTES]    fetch the package lists when they are older than that
#   debian_resolve NAME...              print "name version file" of these packages and all they depend on
#   debian_fetch NAME...                download these and all they depend on into $debian_dir/cache/archives

# More options for apt.
debian_options=()

debian_keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# The first Debian mirror in this machine's apt configuration, without a trailing slash. Asked of apt in this way
# because it answers also before the first update.
debian_mirror() {
  local uri
  uri=$(apt-get update --print-uris | sed -nE "s|^'(.*/debian)/+dists/.*|\1|p" | sed -n 1p)
  if [ -z "$uri" ]; then
    echo "no Debian mirror (an address that ends in /debian) in this machine's apt sources: add one, then run this again" >&2
    return 1
  fi
  echo "$uri"
}

debian_setup() {
  local suite=$2 mirror source
  debian_dir=$1
  debian_arch=${3:-amd64}
  mirror=$(debian_mirror) || return 1
  if [ ! -r "$debian_keyring" ]; then
    echo "$debian_keyring is missing: install the package debian-archive-keyring" >&2
    return 1
  fi
  mkdir -p "$debian_dir"/{state/lists/partial,cache/archives/partial}
  : >"$debian_dir/status"
  source="deb [signed-by=$debian_keyring] $mirror $suite main"
  if [ "$(cat "$debian_dir/sources.list" 2>/dev/null)" != "$source" ]; then
    rm -f "$debian_dir/refreshed"
    echo "$source" >"$debian_dir/sources.list"
  fi
}

debian_apt() {
  local tool=$1
  shift
  "$tool" -q \
    -o Dir::State="$debian_dir/state" -o Dir::State::status="$debian_dir/status" \
    -o Dir::Cache="$debian_dir/cache" -o Dir::Etc::sourcelist="$debian_dir/sources.list" \
    -o Dir::Etc::sourceparts=- -o Dir::Etc::preferencesparts=/dev/null -o Dir::Etc::preferences=/dev/null \
    -o APT::Architecture="$debian_arch" -o APT::Architectures="$debian_arch" -o APT::Sandbox::User=root \
    -o APT::Install-Recommends=false -o APT::Get::AllowUnauthenticated=false \
    -o Acquire::Languages=none -o Acquire::Retries=3 -o Acquire::http::Timeout=30 "${debian_options[@]}" "$@"
}

debian_refresh() {
  if [ -z "$(find "$debian_dir/refreshed" -mmin "-${1:-0}" 2>/dev/null)" ]; then
    # left to itself, apt-get update ends well even when a list could not be had
    debian_apt apt-get -o APT::Update::Error-Mode=any update && touch "$debian_dir/refreshed"
  fi
}

debian_resolve() {
  local plan
  plan=$(debian_apt apt-get -s install "$@") || return 1
  # Inst zstd (1.5.7+dfsg-1 Debian:13.2/stable [amd64])
  sed -nE 's/^Inst ([^ ]+) \(([^ ]+) .*\[([a-z0-9]+)\]\).*/\1 \2 \3/p' <<<"$plan" | LC_ALL=C sort |
    while read -r name version arch; do
      echo "$name $version ${name}_${version//:/%3a}_$arch.deb"
    done
}

debian_fetch() {
  debian_apt apt-get -y -d install "$@" && debian_apt apt-get autoclean
}
