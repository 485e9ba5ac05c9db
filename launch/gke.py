"""Trains on TPUs of a GKE cluster through xpk: python -m launch.gke --config=... --topology=...

    python -m launch.gke --config=configs/vision/vit_s16_imagenet.py --topology=7x:2x2x2 \
        --project=mine --zone=us-central1-c --cluster=mine --bucket=gs://mine --dry-run

The only way to TPU7x. The cluster is made once, with `xpk cluster create`; xpk lives in an
environment of its own (pip install xpk==1.16.0). The code goes into the image that xpk builds,
locks/tpu.txt is installed when a pod starts, exit code 75 restarts the pods where the training was.
With --dry-run and xpk on the PATH, xpk's own dry run adds the manifest that would be applied.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from launch import job as jobs
from launch import plan as plans
from launch import slices
from launch.plan import Plan
from tools import chips, command_line
from tools.find import ROOT
from training.contracts import ConfigError

IMAGE = "python:3.11"
RESTARTS = 1000
# Time to write a checkpoint between SIGTERM and SIGKILL.
GRACE_SECONDS = 120


def run(argv: Sequence[str]) -> int:
    """The program; returns the exit code of the first command that failed, or 0."""
    parser = jobs.parser("launch.gke", (__doc__ or "").split(":")[0])
    parser.add_argument("--topology", help="the slice, such as v5e:4x4 or 7x:2x2x2")
    parser.add_argument("--project", help="the Google Cloud project")
    parser.add_argument("--zone", help="where the cluster is")
    parser.add_argument("--cluster", help="as it was named to xpk cluster create")
    parser.add_argument("--bucket", help="gs://...: the run's folder is kept there")
    parser.add_argument("--image", default=IMAGE, help=f"base image with Python; default {IMAGE}")
    arguments, overrides = parser.parse(argv)
    jobs.need(arguments, "config", "topology", "project", "zone", "cluster", "bucket")
    made = make(
        jobs.describe(arguments, overrides, "tpu", chips.topology(arguments.topology).num_devices),
        slices.parse(arguments.topology),
        where=(
            f"--cluster={arguments.cluster}",
            f"--project={arguments.project}",
            f"--zone={arguments.zone}",
        ),
        bucket=jobs.bucket(arguments.bucket),
        image=arguments.image,
        data=arguments.data or "",
    )
    if not arguments.dry_run:
        return plans.perform(made)
    print(plans.show(made))
    print(manifest(made), end="")
    return 0


def make(
    job: jobs.Job,
    slice_: slices.Slice,
    where: tuple[str, ...],
    bucket: str,
    image: str = IMAGE,
    data: str = "",
) -> Plan:
    """The files and commands; raises ConfigError for a shape that GKE has no machines for."""
    if slice_.shape not in slice_.chip.gke:
        fits = ", ".join(slice_.chip.gke)
        raise ConfigError(f"--topology={slice_}: on GKE {slice_.kind} comes as {fits}")
    workdir = f"{bucket}/{job.run}"
    exports = {"REPRISE_DATA_DIR": data, "JAX_COMPILATION_CACHE_DIR": f"{bucket}/cache/xla"}
    commands: dict[str, plans.Argv] = {
        "create": (
            "xpk", "workload", "create", f"--workload={job.name}", *where,
            f"--tpu-type={slice_.gke_device}", "--num-slices=1",
            f"--base-docker-image={image}", f"--script-dir={job.staging}",
            "--command=bash setup.sh && exec bash train.sh",
            f"--max-restarts={RESTARTS}", "--restart-on-exit-codes=75",
            f"--termination-grace-period-seconds={GRACE_SECONDS}",
        ),
        "wait": (
            "xpk", "workload", "list", *where, f"--wait-for-job-completion={job.name}",
        ),
        "results": jobs.results(workdir, job.run),
    }  # fmt: skip
    note = (
        f"logs meanwhile: kubectl logs --follow -l jobset.sigs.k8s.io/jobset-name={job.name}; "
        f"to stop: xpk workload delete --workload={job.name} {' '.join(where)}"
    )
    needs = {
        "xpk": "install it in an environment of its own (pip install xpk==1.16.0)",
        "gcloud": "install the Google Cloud SDK, then gcloud auth login",
    }
    return Plan(
        job.name, job.staging, job.scripts(workdir, exports), commands, note, needs, job.run
    )


def manifest(plan: Plan) -> str:
    """What xpk would apply, by its own dry run; a sentence where xpk is not here.

    Raises ConfigError where xpk refuses the command.
    """
    try:
        plans.check(plan)
    except ConfigError as error:
        return f"# no manifest: {error}\n"
    plans.write(plan)
    path = Path(plan.folder) / "manifest.yaml"
    options = ("--dry-run", "--skip-validation", f"--output-manifest-file={path}")
    done = subprocess.run(
        (*plan.commands["create"], *options), cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode or not (ROOT / path).is_file():
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise ConfigError(f"xpk refuses the workload: {(lines or ['it says nothing'])[-1]}")
    return f"==> {path} (by xpk's dry run) <==\n{(ROOT / path).read_text()}"


if __name__ == "__main__":
    command_line.main(run)
