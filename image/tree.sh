# What builds of whole disks share: telling how far they are, their tools, Debian packages unpacked by mmdebstrap. Sourced with
# name, suite, work, output, log and inputs set, descriptor 3 the operator's terminal, and standard output the log.

# say TEXT: tells the operator and the log how far the build is.
say() {
  printf '%s: %3d s  %s\n' "$name" "$SECONDS" "$*"
  printf '%s: %3d s  %s\n' "$name" "$SECONDS" "$*" >&3
}

finish() {
  local status=$?
  # A package tree may hold what mmdebstrap had mounted when it was stopped: never remove across a mount.
  rm -rf --one-file-system "$work"
  [ $status = 0 ] && return
  { echo "$name: the build failed; the end of its log, $log:" && tail -n 15 "$log" | sed 's/^/  | /'; } >&3
}

# need_tools PACKAGE:PROGRAM...: installs the Debian packages that are missing, each told by one of its programs.
need_tools() {
  local tool program missing=()
  for tool; do
    program=${tool#*:}
    [ -e "$program" ] || command -v "$program" >/dev/null || missing+=("${tool%%:*}")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    say "installing ${missing[*]}"
    apt-get update
    apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 install -y --no-install-recommends "${missing[@]}"
  fi
}

# mirror LABEL: where this machine's own apt gets Debian ("Debian") or its security updates ("Debian-Security") from.
mirror() {
  # shellcheck disable=SC2016 # apt fills these in
  apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' |
    sed -n "s/^$1 //p" | head -n 1
}

# packages TREE OPTION...: unpacks or installs Debian packages into TREE with mmdebstrap, by this machine's mirror and apt settings.
packages() {
  local tree=$1 archive security sources
  shift
  [ -n "$(mirror Debian)" ] || apt-get update
  archive=$(mirror Debian) security=$(mirror Debian-Security)
  [ -n "$archive" ] || { echo "this machine's apt has no Debian archive to take $suite from: check /etc/apt/sources.list*" && return 1; }
  sources=("deb $archive $suite main" "deb $archive $suite-updates main")
  [ -z "$security" ] || sources+=("deb $security $suite-security main")
  { apt-config dump | grep -E '^Acquire::' | grep -Ev '^Acquire::(IndexTargets|Languages|CompressionTypes)' || true; } >"$work/apt.conf"
  echo 'Acquire::Retries "3";' >>"$work/apt.conf"
  mmdebstrap --mode=root --format=directory --aptopt="$work/apt.conf" --dpkgopt=force-unsafe-io "$@" \
    "$suite" "$tree" "${sources[@]}" 2>&1 |
    while IFS= read -r line; do
      case $line in
        I:*ing*...) say "${line#I: }" ;;
        *) echo "$line" ;;
      esac
    done
  rm -f "$tree"/etc/{apt/apt.conf.d,dpkg/dpkg.cfg.d}/99mmdebstrap
}

# uuid WHAT: an identifier of this build's, the same whenever the same files are built.
uuid() {
  printf '%s %s' "$inputs" "$1" | sha256sum | sed -E 's/(.{8})(.{4}).(.{3}).(.{3})(.{12}).*/\1-\2-4\3-8\4-\5/'
}
