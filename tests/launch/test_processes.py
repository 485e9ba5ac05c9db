"""When several processes become one run: on TPU pods and in Slurm by themselves, else as told."""

import argparse
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from tests.conftest import ROOT
from tools import processes
from tools.processes import Others
from training.contracts import ConfigError

SLURM = {
    "SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "node[1-2]", "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0", "SLURM_NTASKS": "2",
}  # fmt: skip
TOLD = ("--coordinator=node1:8476", "--process_count=2", "--process_index=1")
ENVIRONMENT = {
    "JAX_COORDINATOR_ADDRESS": "node1:8476", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0",
}  # fmt: skip


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    """A machine's /dev, without TPUs; a GPU machine has vfio/vfio, too."""
    (tmp_path / "dev" / "vfio").mkdir(parents=True)
    (tmp_path / "dev" / "vfio" / "vfio").touch()
    return tmp_path / "dev"


@pytest.fixture
def libtpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were installed."""
    monkeypatch.setattr(processes.importlib.util, "find_spec", lambda name: SimpleNamespace())


def found(devices: Path, environment: dict[str, str], *argv: str) -> Others | None:
    parser = argparse.ArgumentParser()
    processes.add_arguments(parser)
    return processes.others(parser.parse_args(argv), environment, devices)


def test_alone_on_a_laptop(devices: Path) -> None:
    assert found(devices, {}) is None


@pytest.mark.usefixtures("libtpu")
def test_alone_where_tpus_are_only_compiled_for(devices: Path) -> None:
    assert found(devices, {"JAX_PLATFORMS": "cpu", "TPU_WORKER_HOSTNAMES": "a,b"}) is None
    assert found(devices, {"TPU_WORKER_HOSTNAMES": "localhost"}) is None


@pytest.mark.usefixtures("libtpu")
@pytest.mark.parametrize("name", ["accel0", "vfio/0"])
def test_a_tpu_vm_finds_the_others_by_itself(name: str, devices: Path) -> None:
    (devices / name).touch()
    assert found(devices, {}) == Others()
    assert found(devices, {}, "--process_count=1") is None


@pytest.mark.usefixtures("libtpu")
def test_so_does_a_pod_on_gke(devices: Path) -> None:
    assert found(devices, {"TPU_WORKER_HOSTNAMES": "pod-0.job,pod-1.job"}) == Others()


def test_tpus_without_libtpu_are_not_used(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes.importlib.util, "find_spec", lambda name: None)
    (devices / "accel0").touch()
    assert found(devices, {}) is None


def test_so_does_a_task_of_slurm(devices: Path) -> None:
    assert found(devices, SLURM) == Others()
    assert found(devices, {**SLURM, "SLURM_NTASKS": "1"}) is None
    # Of sbatch alone, without srun, there is one process.
    batch = {k: v for k, v in SLURM.items() if k != "SLURM_STEP_NODELIST"}
    assert found(devices, batch) is None


def test_told_by_flags_or_by_the_environment(devices: Path) -> None:
    assert found(devices, {}, *TOLD) == Others("node1:8476", 2, 1)
    assert found(devices, ENVIRONMENT) == Others("node1:8476", 2, 0)
    # What is told comes before what would be found; a flag before the environment.
    assert found(devices, {**SLURM, **ENVIRONMENT}) == Others("node1:8476", 2, 0)
    assert found(devices, ENVIRONMENT, *TOLD) == Others("node1:8476", 2, 1)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("--coordinator=node1:8476",), "--process_count and --process_index missing"),
        (("--process_index=0",), "--coordinator and --process_count missing"),
        (("--coordinator=node1", *TOLD[1:]), "--coordinator=node1: an address and a port"),
        ((*TOLD[:2], "--process_index=2"), "--process_index=2: from 0 to 1"),
        ((TOLD[0], "--process_count=two", TOLD[2]), "--process_count=two: a whole number"),
    ],
)
def test_told_too_little(argv: tuple[str, ...], says: str, devices: Path) -> None:
    with pytest.raises(ConfigError) as error:
        found(devices, {}, *argv)
    assert says in str(error.value)


def test_how_jax_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *a, **k: calls.append((a, k)))
    processes.connect(None)
    assert not calls
    processes.connect(Others())
    processes.connect(Others("node1:8476", 2, 1))
    (found_by_jax, first), (told, second) = calls
    assert found_by_jax == (None, None, None)
    assert first["cluster_detection_method"] is None
    assert told == ("node1:8476", 2, 1)
    # Else JAX would take a Slurm task's local number for the one device that it may use.
    assert second["cluster_detection_method"] == "deactivate"


def test_others_that_are_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def initialize(*args: object, **kwargs: object) -> None:
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with pytest.raises(ConfigError, match="--process_count=1"):
        processes.connect(Others())


TWO = """
import argparse, os, sys
from tools import processes
import jax
parser = argparse.ArgumentParser()
processes.add_arguments(parser)
processes.connect(processes.others(parser.parse_args(), os.environ))
print(jax.process_index(), jax.process_count(), jax.device_count())
"""


def test_two_processes_are_one_run() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    flags = [f"--coordinator=127.0.0.1:{port}", "--process_count=2"]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, *flags, f"--process_index={i}"],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for i in range(2)
    ]  # fmt: skip
    outputs = [process.communicate(timeout=100) for process in started]
    assert [out.split() for out, _ in outputs] == [["0", "2", "2"], ["1", "2", "2"]], outputs
