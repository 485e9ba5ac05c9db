"""Several processes become one run: when, and how, `jax.distributed.initialize` is called.

On a TPU pod (TPU VM or GKE) and in a Slurm step of several tasks, JAX finds the others by itself.
Elsewhere - GPU nodes, or two processes of one machine - each process is told: by --coordinator,
--process_count and --process_index, or by JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and
JAX_PROCESS_ID. On a laptop nothing happens.
"""

import argparse
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jax

from training.contracts import ConfigError

# How long the processes wait for one another at the start.
TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Others:
    """How a process finds the others.

    Attributes:
      coordinator: address:port of process 0; None where JAX finds it.
      count, index: how many processes there are, and which one this is; None likewise.
    """

    coordinator: str | None = None
    count: int | None = None
    index: int | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The three flags of a process among several."""
    parser.add_argument("--coordinator", help="HOST:PORT of process 0 (clusters of GPUs)")
    parser.add_argument("--process_count", help="how many processes share the run")
    parser.add_argument("--process_index", help="which of them this is, from 0")


def others(
    arguments: argparse.Namespace, environment: Mapping[str, str], devices: Path = Path("/dev")
) -> Others | None:
    """How to find the other processes, from flags and surroundings; None where this one is alone.

    Raises ConfigError where only some of address, count and index are given, or make no sense.
    """
    given = {
        "--coordinator": arguments.coordinator or environment.get("JAX_COORDINATOR_ADDRESS"),
        "--process_count": arguments.process_count or environment.get("JAX_NUM_PROCESSES"),
        "--process_index": arguments.process_index or environment.get("JAX_PROCESS_ID"),
    }
    if arguments.process_count == "1":
        return None
    if any(given.values()):
        return _told(given)
    if _tpu_pod(environment, devices) or _slurm(environment):
        return Others()
    return None


def _told(given: Mapping[str, str | None]) -> Others:
    missing = [name for name, value in given.items() if not value]
    if missing:
        raise ConfigError(
            f"{' and '.join(missing)} missing: a process among several is told {', '.join(given)}"
        )
    address, count, index = (str(value) for value in given.values())
    if not re.fullmatch(r"\S+:\d+", address):
        raise ConfigError(f"--coordinator={address}: an address and a port, such as node1:8476")
    for name, value in (("--process_count", count), ("--process_index", index)):
        if not value.isdigit():
            raise ConfigError(f"{name}={value}: a whole number")
    if int(index) >= int(count):
        raise ConfigError(f"--process_index={index}: from 0 to {int(count) - 1}")
    return Others(address, int(count), int(index))


def _tpu_pod(environment: Mapping[str, str], devices: Path) -> bool:
    """Whether this is a worker of TPUs, of which a slice may have more."""
    platforms = environment.get("JAX_PLATFORMS", "")
    if (platforms and "tpu" not in platforms) or not importlib.util.find_spec("libtpu"):
        return False
    if "," in environment.get("TPU_WORKER_HOSTNAMES", ""):
        return True
    # The devices of TPU VMs: v2 to v4, and later ones. Ahead of time there are none.
    return any(devices.glob("accel[0-9]*")) or any(devices.glob("vfio/[0-9]*"))


def _slurm(environment: Mapping[str, str]) -> bool:
    """Whether this is a task of a step that has others; srun sets these, sbatch alone does not."""
    names = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_LOCALID")
    several = environment.get("SLURM_NTASKS", "1") not in ("", "1")
    return several and all(name in environment for name in names)


def connect(found: Others | None) -> None:
    """Waits for the other processes, before anything asks JAX for its devices.

    Raises ConfigError where they cannot be found or do not come in time.
    """
    if found is None:
        return
    # With all three told, detection would give a Slurm task one GPU in place of all it sees.
    method = None if found.coordinator is None else "deactivate"
    try:
        jax.distributed.initialize(
            found.coordinator,
            found.count,
            found.index,
            cluster_detection_method=method,
            initialization_timeout=TIMEOUT_SECONDS,
        )
    except (ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"the processes of this run do not find each other ({said}): see --coordinator, or "
            "give --process_count=1 to a process that is alone"
        ) from error
