"""GKE, SkyPilot and Slurm against programs that play theirs; what they run is really run."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from launch import gke, skypilot, slurm
from tests.launch.conftest import CONFIG, Cloud, Launcher

GKE = ("--topology=7x:2x2x2", "--project=mine", "--zone=z", "--cluster=mine", "--bucket=gs://mine")


def result(folder: Path) -> dict[str, Any]:
    (found,) = folder.glob("**/vit_digits-*/result.json")
    return json.loads(found.read_text())


@pytest.mark.usefixtures("outputs")
def test_gke(launch: Launcher, cloud: Cloud, outputs: Path) -> None:
    cloud.plot("75", "0")
    ended = launch(gke, CONFIG, *GKE)
    assert ended.code == 0, ended.err
    # Exit code 75 starts the training again in its pod; the results come from the bucket.
    assert result(outputs / "runs")["starts"] == 2
    assert cloud.calls("create", "list", "rsync") == ["create", "list", "rsync"]


def test_gke_passes_a_failure_on(launch: Launcher, cloud: Cloud) -> None:
    cloud.plot("4")
    assert launch(gke, CONFIG, *GKE).code == 4
    assert cloud.calls("list", "rsync") == []


def test_gke_prints_the_manifest(launch: Launcher, cloud: Cloud, outputs: Path) -> None:
    """xpk's own dry run writes it; a command that xpk refuses is said to be refused."""
    ended = launch(gke, CONFIG, *GKE, "--dry-run")
    assert ended.code == 0
    assert "kind: JobSet" in ended.out
    assert cloud.calls("create", "list") == ["create"]
    rest = [a for a in GKE if not a.startswith("--topology")]
    refused = launch(gke, CONFIG, *rest, "--topology=v5p:2x2x2", "--dry-run")
    refused.refuses("xpk refuses", "system characteristics")


def task(outputs: Path) -> dict[str, Any]:
    (path,) = outputs.glob(".cache/launch/*/task.yaml")
    return yaml.safe_load(path.read_text())


def test_skypilot(launch: Launcher, cloud: Cloud, outputs: Path) -> None:
    (cloud.folder / "buckets" / "mine" / "runs").mkdir(parents=True)
    argv = (CONFIG, "--gpus=H100:8", "--nodes=2", "--bucket=gs://mine", "--spot")
    # The fake `sky` runs nothing: there are no results to copy yet.
    assert launch(skypilot, *argv).code == 1
    found = task(outputs)
    assert found["num_nodes"] == 2
    assert found["resources"] == {
        "accelerators": "H100:8",
        "use_spot": True,
        "job_recovery": {"recover_on_exit_codes": [75]},
    }
    # What it would run on its second node, run here.
    cloud.plot("0")
    nodes = {
        "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2", "SKYPILOT_NUM_NODES": "2",
        "SKYPILOT_NODE_RANK": "1", "HOME": str(cloud.folder),
    }  # fmt: skip
    for script in (found["setup"], found["run"]):
        folder = outputs / found["workdir"]
        subprocess.run(["bash", "-c", script], cwd=folder, env={**os.environ, **nodes}, check=True)
    assert (
        result(cloud.folder)["jax"].items()
        >= {
            "JAX_COORDINATOR_ADDRESS": "10.0.0.1:8476",
            "JAX_NUM_PROCESSES": "2",
            "JAX_PROCESS_ID": "1",
        }.items()
    )


def test_skypilot_on_tpus(launch: Launcher, cloud: Cloud, outputs: Path) -> None:
    argv = (CONFIG, "--topology=v5e:4x4", "--bucket=gs://mine", "--infra=gcp/us-west4")
    launch(skypilot, *argv)
    found = task(outputs)
    assert found["resources"] == {
        "infra": "gcp/us-west4",
        "accelerators": "tpu-v5litepod-16",
        "accelerator_args": {"tpu_vm": True, "runtime_version": "v2-alpha-tpuv5-lite"},
        "use_spot": False,
        "job_recovery": {"recover_on_exit_codes": [75]},
    }
    assert found["run"] == "exec bash train.sh\n"


def test_slurm(launch: Launcher, cloud: Cloud, outputs: Path) -> None:
    """Stopped before its time is over, it saves, goes back into the queue, and on from there."""
    cloud.plot("stopped", "75", "0")
    ended = launch(slurm, CONFIG, "--nodes=2", "--gpus=8", "--time=1-00:00:00")
    assert ended.code == 0, ended.err
    found = result(outputs / "runs")
    assert found["starts"] == 3
    assert (
        found["jax"].items()
        >= {
            "JAX_COORDINATOR_ADDRESS": "node1:24711",
            "JAX_NUM_PROCESSES": "2",
            "JAX_PROCESS_ID": "0",
        }.items()
    )
    assert "scancel --name=vit-digits-" in ended.out


def test_slurm_passes_a_failure_on(launch: Launcher, cloud: Cloud, outputs: Path) -> None:
    cloud.plot("4")
    assert launch(slurm, CONFIG, "--nodes=2").code == 4
    assert result(outputs / "runs")["starts"] == 1


def test_slurm_asks_for_what_it_needs(launch: Launcher, cloud: Cloud) -> None:
    argv = (CONFIG, "--nodes=2", "--gpus=8", "--partition=gpu", "--account=me", "--dry-run")
    printed = launch(slurm, *argv).out
    for option in (
        "--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=8", "--partition=gpu", "--account=me",
        "--requeue", "--dependency=singleton", "--open-mode=append", "--signal=TERM@300",
    ):  # fmt: skip
        assert f"#SBATCH {option}\n" in printed
