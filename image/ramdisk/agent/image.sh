# Fetching the image and writing it. A chunk is written only after its sha256 was found right; meanwhile the next
# chunks are fetched, unpacked and checked beside it.

batch_bytes=$((32 * 1024 * 1024)) # fetched, unpacked and checked together: fewer processes a chunk
batch_chunks=4
zero_bytes=$((256 * 1024 * 1024)) # zeroed in one go: progress stays visible
corrupt_limit=3

# Sets the shell variables of the task from the answer to hello.
read_task() {
  eval "$(jq -r '@sh "task=\(.task) next=\(.then // "reboot") wait_seconds=\(.seconds // 10)
    disk=\(.disk.path // "") disk_size=\(.disk.size // "") disk_serial=\(.disk.serial // "") disk_wwn=\(.disk.wwn // "")
    image_size=\(.image.size // "") chunk_size=\(.image.chunkSize // "") digest=\(.image.digest // "")
    manifest_url=\(.image.manifestUrl // "") chunk_url=\(.image.chunkUrl // "")
    config_drive_url=\(.configDriveUrl // "")"' /run/answer | tr '\n' ' ')"
}

# The disk must be the one that was meant: it is looked at again, now, before the first byte is written.
check_target() {
  local name=${disk#/dev/} size serial wwn
  case $name in '' | */*) fail disk-missing "the server names no disk to write to ('$disk')" ;; esac
  [ -d "/sys/block/$name" ] || fail disk-missing "there is no disk $disk in this machine"
  look_at "$name"
  [ "$size" = "$disk_size" ] || fail disk-changed "$disk has $size bytes, $disk_size were expected: nothing was written"
  [ "$serial" = "$disk_serial" ] ||
    fail disk-changed "$disk has the serial '$serial', '$disk_serial' was expected: nothing was written"
  [ "$wwn" = "$disk_wwn" ] || fail disk-changed "$disk has the WWN '$wwn', '$disk_wwn' was expected: nothing was written"
  is_target "$name" || fail refused "$disk is removable, read-only or empty: not a disk to deploy to"
  [ "$size" -ge "$image_size" ] ||
    fail disk-too-small "$disk has $size bytes, the image has $image_size: choose another disk or a smaller image"
  get sector_size "/sys/block/$name/queue/logical_block_size"
}

# The manifest becomes a plan, one step a line: "zero OFFSET LENGTH" or "chunks OFFSET:LENGTH:SHA256 …".
fetch_manifest() {
  local strikes=0
  say 'fetching the manifest'
  while :; do
    call GET "$manifest_url"
    [ "$(sha256sum </run/answer)" = "$digest  -" ] && break
    strikes=$((strikes + 1))
    [ $strikes -lt $corrupt_limit ] ||
      fail chunk-corrupt "the manifest at $manifest_url does not have the image's digest $digest, $corrupt_limit times"
    say 'the manifest came corrupted; fetching it again'
  done
  mv /run/answer /run/manifest
  awk -F '\t' -v image="$image_size" -v chunk="$chunk_size" -v batch="$batch_bytes" -v together=$batch_chunks -v most="$zero_bytes" '
    function flush() {
      if (zero) printf "zero %.0f %.0f\n", start, zero
      if (count) print "chunks" pieces
      zero = count = 0; pieces = ""
    }
    NF != 3 || $1 != at || $2 <= 0 || $2 > chunk || $3 !~ /^(-|[0-9a-f]+)$/ { bad = 1; exit }
    { at += $2 }
    $3 == "-" {
      if (count || zero + $2 > most) flush()
      if (!zero) start = $1
      zero += $2
      next
    }
    {
      if (zero || count == together || count && (count + 1) * chunk > batch) flush()
      count++
      pieces = pieces " " $1 ":" $2 ":" $3
    }
    END { flush(); exit bad || at != image }' /run/manifest >/run/plan ||
    fail agent-error "the manifest is not one of $image_size bytes in chunks of $chunk_size"
}

# --- beside the main line: fetch, unpack, check ---

# fetch_all: fetches the plan's chunks, batch after batch, into /run/chunks/1, 2, …; says "ready N" on the pipe
# `fetched` after each, or why not, and keeps no more than two batches ahead of what `written` confirms.
fetch_all() {
  local kind pieces number=0
  while read -r kind pieces; do
    [ "$kind" = chunks ] || continue
    number=$((number + 1))
    [ $number -le 2 ] || read -r _ <&5
    fetch_batch /run/chunks/$number $pieces || return
    echo "ready $number" >&4
  done </run/plan
}

# fetch_batch FOLDER PIECE…: comes back when FOLDER holds each chunk as a file named by its sha256, checked.
fetch_batch() {
  local folder=$1 piece sum sums missing='' strikes='' delay=1 code result file worst reason
  shift
  mkdir -p "$folder"
  cd "$folder" || return
  for piece; do
    sum=${piece##*:}
    case $missing in *$sum*) ;; *) missing="$missing $sum" ;; esac
  done
  while [ -n "$missing" ]; do
    for sum in $missing; do
      printf 'url = "%s%s"\noutput = "%s.zst"\n' "$chunk_url" "$sum" "$sum"
    done >curl.list
    http --fail-early --config curl.list --write-out '%{http_code} %{exitcode} %{filename_effective}\n' >results 2>errors
    worst=none
    set --
    while read -r code result file; do
      worst=$code
      if [ "$code" = 200 ] && [ "$result" = 0 ]; then
        set -- "$@" "$file"
      else
        [ -f "$file" ] && mv "$file" answer
        # the answers behind the first bad one may be missing
        break
      fi
    done <results
    if [ $# -gt 0 ]; then
      delay=1
      zstd -d -q -f --rm "$@" 2>>errors
      sums=''
      for file; do
        sums="$sums ${file%.zst}"
      done
      # what could not be unpacked is empty now, what was unpacked wrong has another sum
      touch $sums
      sha256sum $sums >sums
      while read -r sum file; do
        if [ "$sum" = "$file" ]; then
          missing=$(without "$file" $missing)
        else
          rm -f "$file"
          strikes="$strikes $file"
          if [ "$(count "$file" $strikes)" -ge $corrupt_limit ]; then
            echo "corrupt $file" >&4
            return 1
          fi
          say "chunk $file came corrupted; fetching it again"
        fi
      done <sums
      continue
    fi
    case $worst in
    401) unknown_token ;;
    410 | [34]??)
      mv answer /run/answer 2>/dev/null || : >/run/answer
      echo "$worst $chunk_url" >&4
      return 1
      ;;
    *)
      reason=$(head -n 1 errors)
      no_answer 'the request for chunks' "$worst" "$reason" "$delay"
      delay=$(longer "$delay")
      ;;
    esac
  done
  rm -f curl.list results errors sums answer
}

without() {
  local word=$1 rest=''
  shift
  for other; do [ "$other" = "$word" ] || rest="$rest $other"; done
  echo "$rest"
}
count() {
  local word=$1 n=0
  shift
  for other; do [ "$other" != "$word" ] || n=$((n + 1)); done
  echo $n
}

# --- the main line: write ---

write_image() {
  local kind rest number=0 done=0 piece offset length
  say "writing $((image_size / 1048576)) MiB to $disk"
  rm -rf /run/chunks
  mkdir -p /run/chunks
  mkfifo /run/fetched /run/written.pipe
  exec 4<>/run/fetched 5<>/run/written.pipe
  (fetch_all; echo ended >&4) &
  work_jobs=$!
  progress writing 0 "$image_size"
  while read -r kind rest <&3; do
    if [ "$kind" = zero ]; then
      offset=${rest% *}
      length=${rest#* }
      write_zeros "$offset" "$length"
      done=$((done + length))
    else
      number=$((number + 1))
      wait_for_batch $number
      for piece in $rest; do
        offset=${piece%%:*}
        write_chunk "/run/chunks/$number/${piece##*:}" "$offset"
        length=${piece#*:}
        done=$((done + ${length%:*}))
      done
      rm -r "/run/chunks/$number"
      echo "written $number" >&5
    fi
    progress writing "$done" "$image_size"
  done 3</run/plan
  work_jobs=
  exec 4>&- 5>&-
  rm -r /run/fetched /run/written.pipe /run/chunks
  flush_disk
}

# Waits until the fetching side has batch NUMBER ready.
wait_for_batch() {
  local first word rest
  # busybox's read forgets what it has of a line when its time is up: so it waits for one character, and the rest is there
  until read -r -n 1 -t 3 first <&4; do
    progress writing "$done" "$image_size"
  done
  read -r word rest <&4
  word=$first$word
  case $word in
  ready) ;;
  corrupt) fail chunk-corrupt "chunk $rest came corrupted $corrupt_limit times: check the image store and the network" ;;
  410) over ;;
  ended) fail agent-error 'fetching chunks ended by itself' ;;
  *) refused "GET $rest" "$word" ;;
  esac
}

write_chunk() {
  [ "$2" != 0 ] || prepare_disk "$1"
  dd if="$1" of="$disk" bs=4M seek="$2" oflag=direct,seek_bytes conv=notrunc status=none 2>/run/dd.err ||
    fail disk-error "writing to $disk at byte $2 failed: $(cat /run/dd.err)"
}

# prepare_disk FIRST-CHUNK: the last look before the first byte. An image is made for one sector size: its GPT stands
# in the second sector.
prepare_disk() {
  local made_for tail=$((4 * 1024 * 1024))
  for made_for in 512 4096; do
    if [ $made_for != "$sector_size" ] && [ "$(dd if="$1" bs=8 skip=$((made_for / 8)) count=1 status=none)" = 'EFI PART' ]; then
      fail refused "the image is made for disks with $made_for byte sectors, $disk has $sector_size: nothing was written"
    fi
  done
  # old RAID and partition tables keep a second copy at the disk's end, where the image may not reach
  [ "$disk_size" -lt $((tail * 2)) ] || write_zeros $((disk_size - tail)) $tail
}

# Zeroed by the disk itself where it can (the kernel writes zeros where it cannot).
write_zeros() {
  blkdiscard -f -z -o "$1" -l "$2" "$disk" 2>/dev/null ||
    dd if=/dev/zero of="$disk" bs=4M seek="$1" count="$2" iflag=count_bytes oflag=direct,seek_bytes conv=notrunc \
      status=none 2>/run/dd.err || fail disk-error "zeroing $disk at byte $1 failed: $(cat /run/dd.err)"
}

# Through the kernel's cache and the disk's own.
flush_disk() {
  dd if=/dev/null of="$disk" conv=notrunc,fsync status=none 2>/run/dd.err ||
    fail disk-error "flushing $disk failed: $(cat /run/dd.err)"
}
