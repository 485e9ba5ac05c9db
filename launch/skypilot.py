"""Trains through SkyPilot, on TPUs or GPUs: python -m launch.skypilot --config=... --gpus=...

    python -m launch.skypilot --config=configs/vision/vit_s16_imagenet.py --topology=v5e:2x4 \
        --bucket=gs://mine --spot --dry-run
    python -m launch.skypilot --config=configs/vision/vit_s16_imagenet.py --gpus=H100:8 --nodes=2 \
        --bucket=gs://mine --dry-run

A managed job: SkyPilot finds a cloud that has the machines, and another one where they are taken
away; the training goes on from the bucket. SkyPilot lives in an environment of its own
(pip install "skypilot[gcp]==0.14.1").
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from launch import job as jobs
from launch import plan as plans
from launch import slices
from launch.plan import Plan
from tools import chips, command_line
from training.contracts import ConfigError

# SkyPilot names the nodes; JAX is told which of them is the first, how many and which one it is.
RUN = """\
first=$(echo "$SKYPILOT_NODE_IPS" | sed -n 1p)
export JAX_COORDINATOR_ADDRESS="$first:8476"
export JAX_NUM_PROCESSES="$SKYPILOT_NUM_NODES" JAX_PROCESS_ID="$SKYPILOT_NODE_RANK"
exec bash train.sh
"""


def run(argv: Sequence[str]) -> int:
    """The program; returns the exit code of the first command that failed, or 0."""
    parser = jobs.parser("launch.skypilot", (__doc__ or "").split(":")[0])
    parser.add_argument("--topology", help="a slice of TPUs, such as v5e:4x4")
    parser.add_argument("--gpus", help="of one node, such as H100:8")
    parser.add_argument("--nodes", type=int, default=1, help="nodes with --gpus; default 1")
    parser.add_argument("--infra", help="SkyPilot's choice of cloud, such as gcp/us-west4")
    parser.add_argument("--bucket", help="gs://...: the run's folder is kept there")
    parser.add_argument("--spot", action="store_true", help="preemptible, far cheaper")
    arguments, overrides = parser.parse(argv)
    jobs.need(arguments, "config", "bucket")
    if bool(arguments.topology) == bool(arguments.gpus):
        raise ConfigError("give --topology=v5e:4x4 for TPUs, or --gpus=H100:8 for GPUs")
    if arguments.nodes < 1 or (arguments.topology and arguments.nodes > 1):
        raise ConfigError(f"--nodes={arguments.nodes}: at least 1, and only with --gpus more")
    if arguments.topology:
        accelerators = tpus(slices.parse(arguments.topology))
        lock, devices = "tpu", chips.topology(arguments.topology).num_devices
    else:
        accelerators = gpus(arguments.gpus)
        lock, devices = "cuda", arguments.nodes * int(arguments.gpus.partition(":")[2])
    made = make(
        jobs.describe(arguments, overrides, lock, devices),
        accelerators,
        nodes=arguments.nodes,
        bucket=jobs.bucket(arguments.bucket),
        infra=arguments.infra or "",
        spot=arguments.spot,
        data=arguments.data or "",
    )
    if arguments.dry_run:
        print(plans.show(made))
        return 0
    return plans.perform(made)


def tpus(slice_: slices.Slice) -> dict[str, Any]:
    """SkyPilot's resources of a slice; raises ConfigError for a chip that has no TPU VM."""
    if slice_.chip.runtime is None:
        raise ConfigError(f"--topology={slice_}: {slice_.kind} is had through GKE: launch.gke")
    arguments = {"tpu_vm": True, "runtime_version": slice_.chip.runtime}
    return {"accelerators": f"tpu-{slice_.accelerator}", "accelerator_args": arguments}


def gpus(text: str) -> dict[str, Any]:
    """SkyPilot's resources of GPUs such as H100:8."""
    if not re.fullmatch(r"[A-Za-z][-A-Za-z0-9]*:[1-9][0-9]?", text):
        raise ConfigError(f"--gpus={text}: a name and how many of them, such as H100:8")
    return {"accelerators": text}


def make(
    job: jobs.Job,
    accelerators: Mapping[str, Any],
    nodes: int,
    bucket: str,
    infra: str = "",
    spot: bool = False,
    data: str = "",
) -> Plan:
    """The task as SkyPilot reads it, and the command that launches it."""
    workdir = f"{bucket}/{job.run}"
    exports = {"REPRISE_DATA_DIR": data, "JAX_COMPILATION_CACHE_DIR": f"{bucket}/cache/xla"}
    task = {
        "name": job.name,
        "workdir": str(job.staging),
        "num_nodes": nodes,
        "resources": {
            **({"infra": infra} if infra else {}),
            **accelerators,
            "use_spot": spot,
            # Preempted machines are replaced without being told; this is the training's own word.
            "job_recovery": {"recover_on_exit_codes": [75]},
        },
        "setup": "bash setup.sh\n",
        "run": RUN if nodes > 1 else "exec bash train.sh\n",
    }
    files = {"task.yaml": yaml(task).encode(), **job.scripts(workdir, exports)}
    commands: dict[str, plans.Argv] = {
        "launch": (
            "sky", "jobs", "launch", "--yes", f"--name={job.name}", str(job.staging / "task.yaml"),
        ),
        "results": jobs.results(workdir, job.run),
    }  # fmt: skip
    note = f"logs: sky jobs logs --name={job.name}; to stop: sky jobs cancel --name={job.name}"
    needs = {
        "sky": 'install it in an environment of its own (pip install "skypilot[gcp]==0.14.1")',
        "gcloud": "install the Google Cloud SDK, then gcloud auth login",
    }
    return Plan(job.name, job.staging, files, commands, note, needs, job.run)


def yaml(values: Mapping[str, Any], indent: str = "") -> str:
    """YAML of nested mappings; text of several lines as a block, all else as JSON writes it."""
    lines = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines.append(f"{indent}{key}:\n{yaml(value, indent + '  ')}")
        elif isinstance(value, str) and value.endswith("\n"):
            block = "".join(f"{indent}  {line}\n" for line in value.splitlines())
            lines.append(f"{indent}{key}: |\n{block}")
        else:
            lines.append(f"{indent}{key}: {json.dumps(value)}\n")
    return "".join(lines)


if __name__ == "__main__":
    command_line.main(run)
