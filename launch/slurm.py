"""Trains on the GPUs of a Slurm cluster: python -m launch.slurm --config=... --nodes=2 --gpus=8 ...

    python -m launch.slurm --config=configs/vision/vit_s16_imagenet.py --nodes=2 --gpus=8 \
        --time=1-00:00:00 --partition=gpu --dry-run

Called on a login node, in a checkout that the compute nodes see, too. locks/cuda.txt is installed
there, then a batch job is submitted: one process a node, with all its GPUs. Five minutes before the
time is over, and when the job is preempted, the training saves and exits 75; the job then goes back
into the queue and on from there. Of several jobs of one config only one runs at a time.
"""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from launch import job as jobs
from launch import plan as plans
from launch.plan import Plan
from tools import command_line
from tools.find import ROOT
from training.contracts import ConfigError

# Long enough to write a checkpoint before Slurm ends the job.
WARNING_SECONDS = 300
_TIME = re.compile(r"(\d+-)?\d+(:\d\d){0,2}")

BATCH = """\
#!/usr/bin/env bash
{options}
set -uo pipefail
trap : TERM
cd {folder} || exit 1
rm -f "again-$SLURM_JOB_ID"
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
export JAX_COORDINATOR_ADDRESS=$first:$((20000 + SLURM_JOB_ID % 10000))
code=0
srun --kill-on-bad-exit=0 bash task.sh || code=$?
if [ -e "again-$SLURM_JOB_ID" ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def run(argv: Sequence[str]) -> int:
    """The program; returns the exit code of the first command that failed, or 0."""
    parser = jobs.parser("launch.slurm", (__doc__ or "").split(":")[0])
    parser.add_argument("--nodes", type=int, default=1, help="default 1")
    parser.add_argument("--gpus", type=int, default=1, help="of each node; default 1")
    parser.add_argument("--time", help="limit of one stretch of the run, such as 1-00:00:00")
    parser.add_argument("--partition", help="Slurm's partition")
    parser.add_argument("--account", help="who pays")
    parser.add_argument("--workdir", help="a folder that all nodes see, or gs://...; default runs/")
    arguments, overrides = parser.parse(argv)
    jobs.need(arguments, "config")
    for name in ("nodes", "gpus"):
        if getattr(arguments, name) < 1:
            raise ConfigError(f"--{name}={getattr(arguments, name)}: at least 1")
    if arguments.time and not _TIME.fullmatch(arguments.time):
        raise ConfigError(
            f"--time={arguments.time}: minutes, hours:minutes:seconds or days-hours:minutes:seconds"
        )
    job = jobs.describe(arguments, overrides, "cuda", arguments.nodes * arguments.gpus)
    options = [
        f"--{name}={getattr(arguments, name)}"
        for name in ("time", "partition", "account")
        if getattr(arguments, name)
    ]
    workdir = arguments.workdir or str(ROOT / job.run)
    if "://" not in workdir:
        workdir = str(Path(workdir).expanduser().absolute())
    made = make(job, arguments.nodes, arguments.gpus, options, workdir, arguments.data or "")
    if arguments.dry_run:
        print(plans.show(made))
        return 0
    code = plans.perform(made)
    if code == 0:
        print(made.note)
    return code


def make(
    job: jobs.Job, nodes: int, gpus: int, options: Sequence[str], workdir: str, data: str = ""
) -> Plan:
    """The batch script, and the commands that install the environment and submit it."""
    folder = ROOT / job.staging
    log = folder / "slurm.log"
    head = [
        f"--job-name={job.name}",
        f"--nodes={nodes}",
        "--ntasks-per-node=1",
        f"--gpus-per-node={gpus}",
        *options,
        f"--output={shlex.quote(str(log))}",
        "--open-mode=append",
        "--requeue",
        "--dependency=singleton",
        f"--signal=TERM@{WARNING_SECONDS}",
    ]
    batch = BATCH.format(
        options="\n".join(f"#SBATCH {option}" for option in head), folder=shlex.quote(str(folder))
    )
    files = {
        "job.sbatch": batch.encode(),
        **job.scripts(workdir, {"REPRISE_DATA_DIR": data}, "task.sh"),
    }
    commands: dict[str, plans.Argv] = {
        "install": ("bash", str(job.staging / "setup.sh")),
        "submit": ("sbatch", str(job.staging / "job.sbatch")),
    }
    note = f"logs: tail -F {log}; to stop: scancel --name={job.name}; results: {workdir}"
    needs = {"sbatch": "call this on a login node of the cluster"}
    return Plan(job.name, job.staging, files, commands, note, needs)


if __name__ == "__main__":
    command_line.main(run)
