# Talking: to the people at the console and to the server.

log_lines=15

say() { echo "<3>seedling: $*" >/dev/kmsg; }

# The kernel command line's value of NAME, or nothing.
argument() {
  sed -n "s/^\(.* \)\{0,1\}$1=\([^ ]*\).*/\2/p" /proc/cmdline
}

# Sets $server and writes the token where every curl reads it, not where the list of processes shows it.
read_settings() {
  server=$(argument seedling.url)
  server=${server%/}
  printf 'header = "Authorization: Bearer %s"\n' "$(argument seedling.token)" >/run/curl.conf
  if [ -z "$server" ]; then
    wait_for_ever 'the kernel command line has no seedling.url: this ramdisk was not started by Seedling'
  fi
}

# One curl with the token; gives up on a server that is silent for 30 s. More arguments as curl takes them.
http() {
  curl -q --config /run/curl.conf --silent --show-error --connect-timeout 10 --speed-limit 1 --speed-time 30 "$@"
}

# call METHOD PATH-OR-URL [BODY-FILE]: asks until there is an answer, which is then in /run/answer and its header
# in /run/header. Comes back only with success; every other answer ends the agent's work here.
call() {
  local method=$1 url=$2 body=${3:-} status delay=1
  case $url in /*) url=$server$url ;; esac
  while :; do
    : >/run/answer
    status=$(http --request "$method" --output /run/answer --dump-header /run/header --write-out '%{http_code}' \
      ${body:+--header 'Content-Type: application/json' --data-binary "@$body"} "$url" 2>/run/curl.err) || status=none
    case $status in
    2??) return 0 ;;
    401) unknown_token ;;
    410) over ;;
    [34]??) refused "$method $url" "$status" ;;
    *)
      no_answer "$method $url" "$status" "$(cat /run/curl.err)" "$delay"
      delay=$(longer "$delay")
      ;;
    esac
  done
}

# The answers every call can get.
unknown_token() {
  say 'the server does not know this attempt (yet, or any more); asking again in 30 s'
  sleep 30
}
over() {
  stop_work
  wait_for_ever "this attempt is over: $(answer_message). Nothing more is done here; the machine can be switched off"
}
refused() { fail refused "the server refused $1 with status $2: $(answer_message)"; }
no_answer() { say "no good answer to $1 ($2${3:+: $3}); asking again in $4 s"; sleep "$4"; }
longer() { [ "$1" -ge 15 ] && echo 30 || echo $(($1 * 2)); }
answer_message() { jq -r '.message // .' /run/answer 2>/dev/null | head -c 300; }

# Ends what runs beside the main line of work, before anything else is said.
stop_work() {
  local job
  for job in ${work_jobs:-}; do
    kill "$job" 2>/dev/null
  done
  work_jobs=
}

# fail CODE MESSAGE: tells the server and the console, and never comes back.
fail() {
  local code=$1 message=$2 status delay=1
  stop_work
  say "FAILED ($code): $message"
  jq -n --arg code "$code" --arg message "$message" \
    --arg evidence "$(dmesg | tail -n $log_lines | cut -c 1-300)" '$ARGS.named' >/run/failure
  while :; do
    status=$(http --request POST --output /run/answer --write-out '%{http_code}' \
      --header 'Content-Type: application/json' --data-binary @/run/failure "$server/agent/failed" 2>/run/curl.err) ||
      status=none
    case $status in
    401) unknown_token ;;
    [234]??) break ;;
    *)
      no_answer 'the report of this failure' "$status" "$(cat /run/curl.err)" "$delay"
      delay=$(longer "$delay")
      ;;
    esac
  done
  wait_for_ever "FAILED ($code): $message"
}

# Says MESSAGE every 30 s. With seedling.shell on the command line there is a shell on the console meanwhile.
wait_for_ever() {
  if grep -qw seedling.shell /proc/cmdline; then
    say 'a shell is on the console'
    (while :; do setsid cttyhack sh </dev/console >/dev/console 2>&1; done) &
  fi
  while :; do
    say "$1"
    sleep 30
  done
}

# progress STAGE DONE TOTAL (bytes; 0 1 where nothing is counted): tells at most every 3 s, without waiting for the answer; a lost report does not matter,
# the next one says more. An answer of 410 is acted on at the next call.
progress() {
  local now
  read -r now _ </proc/uptime
  now=${now%.*}
  [ "$1" = "${progress_stage:-}" ] && [ "$now" -lt $((progress_at + 3)) ] && return 0
  [ "$1" = "${progress_stage:-}" ] || progress_said=0
  progress_stage=$1
  progress_at=$now
  if [ "$now" -ge $((progress_said + 10)) ]; then
    progress_said=$now
    [ "$3" = 1 ] || say "$1: $(($2 / 1048576)) of $(($3 / 1048576)) MiB"
  fi
  if [ "$(cat /run/progress.status 2>/dev/null)" = 410 ]; then
    cp /run/progress.answer /run/answer
    over
  fi
  http --max-time 10 --output /run/progress.answer --write-out '%{http_code}' --header 'Content-Type: application/json' \
    --data "{\"stage\":\"$1\",\"done\":$2,\"total\":$3}" "$server/agent/progress" \
    >/run/progress.status 2>/dev/null &
}
progress_at=0

report_written() {
  say 'all is on the disk; telling the server'
  printf '{"digest":"%s"}' "$digest_read" >/run/written
  call POST /agent/written /run/written
  next=$(jq -r --arg next "$next" '.then // $next' /run/answer)
}

# leave reboot|poweroff
leave() {
  sync
  case $1 in
  poweroff) say 'switching off' && poweroff -f ;;
  *) say 'rebooting' && reboot -f ;;
  esac
  wait_for_ever "the machine does not $1 by itself: do it by hand"
}
