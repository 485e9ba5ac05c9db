#!/usr/bin/env bash
# One task of a Slurm job, which has one on each node: the training, with all GPUs of the node.
set -uo pipefail

main() {
  cd "$(dirname "$0")" || exit 1
  export JAX_NUM_PROCESSES=$SLURM_NTASKS JAX_PROCESS_ID=$SLURM_PROCID
  local code=0
  # Slurm tells every process of the step to stop; this one has a word to add when the others have.
  trap : TERM
  bash train.sh || code=$?
  # srun passes on the largest code of all tasks, which need not be the one that asks for more.
  if [ "$code" -eq 75 ]; then touch "again-$SLURM_JOB_ID"; fi
  return "$code"
}

main "$@"
exit
