#!/usr/bin/env bash
# One worker of a TPU slice; all of them call this.
#
#   start    begins the run, also one that failed before, and follows it
#   follow   follows the run, which goes on where nobody does; begins it where none is alive
#   run      the run itself
#
# It ends with a line that tells its exit code to launch/tpu_vm.py.
set -euo pipefail

number() {
  local metadata=http://metadata.google.internal/computeMetadata/v1/instance/attributes
  curl -sf -H 'Metadata-Flavor: Google' "$metadata/agent-worker-number" || echo 0
}

run() {
  local code=0
  bash setup.sh || code=$?
  if [ "$code" -eq 0 ]; then bash train.sh || code=$?; fi
  echo "$code" >exit_code.partial
  mv exit_code.partial exit_code
}

follow() {
  local me code reader='' lines=20
  me=$(number)
  if [ "$1" = start ]; then
    lines=+1
    if [ "$(cat exit_code 2>/dev/null || echo 0)" != 0 ]; then
      rm -f exit_code
      mv -f log log.before
    fi
  fi
  touch log
  if [ ! -e exit_code ]; then
    # The lock keeps a second one from beginning beside a live one; it ends with its holder.
    setsid nohup flock --nonblock lock bash "$PWD/worker.sh" run >>log 2>&1 </dev/null &
  fi
  if [ "$me" = 0 ]; then
    tail --pid=$$ -s 0.5 -n "$lines" -F log 2>/dev/null &
    reader=$!
  fi
  until [ -e exit_code ]; do sleep "${REPRISE_POLL:-2}"; done
  code=$(cat exit_code)
  if [ "$me" = 0 ]; then
    sleep "${REPRISE_POLL:-2}"
    kill "$reader"
  elif [ "$code" != 0 ]; then
    tail -n 20 log | sed "s/^/[worker $me] /"
  fi
  echo "reprise: worker $me ended with code $code"
}

main() {
  cd "$(dirname "$0")"
  case $1 in
    run) run ;;
    *) follow "$1" ;;
  esac
}

# All of it is read before any of it runs: a later launch may write this file anew meanwhile.
main "$@"
exit
