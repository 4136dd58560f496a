# Reading back. What was written is read from the disk anew and a manifest is made of it; only when that has the
# image's digest is the image on the disk.

# Sets $digest_read.
verify_image() {
  local worker workers jobs='' job
  say "reading $disk back"
  blockdev --flushbufs "$disk"
  echo 3 >/proc/sys/vm/drop_caches
  workers=$(nproc)
  [ "$workers" -le 4 ] || workers=4
  rm -f /run/read.*
  worker=0
  while [ $worker -lt "$workers" ]; do
    # there at once: the job opens it only when it gets the processor, and the progress is counted from now on
    : >/run/read.$worker
    read_share $worker "$workers" >>/run/read.$worker &
    jobs="$jobs $!"
    worker=$((worker + 1))
  done
  work_jobs=$jobs
  for job in $jobs; do
    while kill -0 "$job" 2>/dev/null; do
      progress verifying "$(awk '{ n += $2 } END { printf "%.0f", n }' /run/read.*)" "$image_size"
      sleep 0.5
    done
    wait "$job"
  done
  work_jobs=
  sort -n /run/read.* | awk -v chunk="$chunk_size" '
    $3 != "-" { printf "%.0f\t%.0f\t%s\n", $1, $2, $3; next }
    { for (at = $1; at < $1 + $2; at += chunk) {
        left = $1 + $2 - at
        printf "%.0f\t%.0f\t-\n", at, left < chunk ? left : chunk
    } }' >/run/manifest.read
  digest_read=$(sha256sum </run/manifest.read)
  digest_read=${digest_read%% *}
  [ "$digest_read" = "$digest" ] ||
    fail verify-mismatch "what $disk gives back differs from what was written, first at byte $(first_difference): the disk is bad"
  progress verifying "$image_size" "$image_size"
  say "the disk holds the image: $digest_read"
}

# read_share N OF: every OFth step of the plan, from the Nth; a line "offset length sha256" for each piece read. The
# pieces go through files in memory: through a pipe it takes three times as long.
read_share() {
  local share=$1 of=$2 folder=/run/read/$1 number=0 kind rest piece offset length direct sum file
  mkdir -p "$folder"
  cd "$folder" || return
  while read -r kind rest <&3; do
    number=$((number + 1))
    [ $((number % of)) = "$share" ] || continue
    if [ "$kind" = zero ]; then
      if cmp -s -n "${rest#* }" -i "${rest% *}:0" "$disk" /dev/zero; then echo "$rest -"; else echo "$rest not-zero"; fi
      continue
    fi
    set --
    for piece in $rest; do
      offset=${piece%%:*}
      length=${piece#*:}
      length=${length%:*}
      # only whole sectors can be read past the kernel's cache
      [ $((length % 4096)) = 0 ] && direct=direct, || direct=
      dd if="$disk" of="$offset:$length" bs=4M skip="$offset" count="$length" status=none \
        iflag="${direct}fullblock,skip_bytes,count_bytes" 2>/run/dd.err || : >"$offset:$length"
      set -- "$@" "$offset:$length"
    done
    sha256sum "$@" | while read -r sum file; do echo "${file%:*} ${file#*:} $sum"; done
    rm "$@"
  done 3</run/plan
}

first_difference() {
  awk -F '\t' 'NR == FNR { want[$1] = $3; next } want[$1] != $3 { print $1; exit }' /run/manifest /run/manifest.read
}
