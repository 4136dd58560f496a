# Sourced by the scripts beside it. A step is a command that says what it does, keeps its output in a log, and tells
# where that log is when it fails.

root=$(dirname "$(dirname "$(readlink -f "$0")")")
log_dir="$root/.cache/log"

say() { echo "$(basename "$0"): $*"; }

# step NAME "what it does" COMMAND…   runs COMMAND with its output in .cache/log/NAME.log; says how long it takes
step() {
  step_log="$log_dir/$1.log"
  step_what=$2
  shift 2
  mkdir -p "$log_dir"
  say "$step_what …"
  step_start=$(date +%s)
  step_next=10
  step_seconds=0
  "$@" </dev/null >"$step_log" 2>&1 &
  step_pid=$!
  # A command in the background does not get Ctrl-C by itself.
  trap 'kill "$step_pid"; exit 130' INT TERM
  while kill -0 "$step_pid" 2>/dev/null; do
    sleep 0.2
    step_seconds=$(($(date +%s) - step_start))
    if [ "$step_seconds" -ge "$step_next" ]; then
      say "$step_what … ${step_seconds} s"
      step_next=$((step_next + 10))
    fi
  done
  trap - INT TERM
  if wait "$step_pid"; then
    [ "$step_seconds" -lt 3 ] || say "$step_what: done in ${step_seconds} s"
    return 0
  fi
  say "$step_what: FAILED; the end of $step_log:" >&2
  tail -n 15 "$step_log" | sed 's/^/    /' >&2
  return 1
}
