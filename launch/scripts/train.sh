#!/usr/bin/env bash
# Runs the training, and again for as long as it asks for that by exit code 75.
#
# Where another host of the run has gone, JAX aborts this process (134): that is tried again too, a
# few times. Told to stop, it tells the training, which saves and exits 75, and does not restart:
# whoever stopped this machine starts the run on another one.
set -uo pipefail

child=''
stopped=''

main() {
  cd "$(dirname "$0")" || exit 1
  # shellcheck disable=SC1091
  . ./job.env
  local python=$PWD/venv/bin/python
  cd -P code || exit 1
  trap 'stopped=yes; kill -TERM "$child" 2>/dev/null' TERM INT
  local code aborts=0
  while :; do
    "$python" "${COMMAND[@]}" &
    child=$!
    # A signal ends `wait` before the child has ended; the last `wait` gives what it ended with.
    while kill -0 "$child" 2>/dev/null; do wait "$child"; done
    wait "$child"
    code=$?
    if [ -n "$stopped" ]; then
      # 143: stopped before it could save, or after; its last checkpoint is there either way.
      if [ "$code" -eq 143 ]; then code=75; fi
      break
    fi
    case $code in
      75) aborts=0 ;;
      134) aborts=$((aborts + 1)) ;;
      *) break ;;
    esac
    if [ "$aborts" -gt 3 ]; then break; fi
    echo "exit code $code: running again"
  done
  return "$code"
}

main "$@"
exit
