"""Two processes of four devices are one of eight: same input, same losses, one run's folder.

What each reads is asked of pipelines on fake data; the run is train.py's own, with parameters and
checkpoints that are split over both processes.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT
from training import figures

# Two fixtures do all the work, on a machine that may do other things meanwhile.
pytestmark = pytest.mark.timeout(600)


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("localhost", 0))
        return server.getsockname()[1]


def start(count: int, workdir: Path) -> list[subprocess.Popen[str]]:
    """`count` processes that share eight devices and a run's folder."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={8 // count}"
    address = f"localhost:{free_port()}"
    command = [sys.executable, "-m", "tests.processes.worker", address, str(count)]
    return [
        subprocess.Popen(
            [*command, str(number), str(workdir)],
            cwd=ROOT,
            env={**os.environ, "XLA_FLAGS": flags},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]


def finish(running: list[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    found = []
    try:
        for process in running:
            output, errors = process.communicate(timeout=500)
            assert process.returncode == 0, errors[-3000:]
            line = next(line for line in output.splitlines() if line.startswith("FOUND "))
            found.append(json.loads(line.removeprefix("FOUND ")))
    finally:
        for process in running:
            process.kill()
    return found


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def one(folders):
    return finish(start(1, folders / "one"))


@pytest.fixture(scope="module")
def two(folders, one):
    # After `one`, whose compilations the cache keeps.
    return finish(start(2, folders / "two"))


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_losses_are_those_of_one_process(folders, one, two):
    alone, together = lines(folders / "one"), lines(folders / "two")
    assert len({line["step"] for line in alone}) > 2
    assert {line["split"] for line in alone} == {"train", "val", "test"}
    for a, b in zip(alone, together, strict=True):
        assert a.keys() == b.keys() and a["split"] == b["split"]
        for name in a.keys() - {"split"}:
            np.testing.assert_allclose(b[name], a[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_figures_are_those_of_one_process(folders, one, two):
    paths = sorted(p.relative_to(folders / "one") for p in (folders / "one").rglob("*.npz"))
    assert {p.stem for p in paths} >= {"test_confusion", "test_mistakes"}
    assert paths == sorted(p.relative_to(folders / "two") for p in (folders / "two").rglob("*.npz"))
    confusions = [
        figures.load(next((folders / name).rglob("test_confusion.npz"))) for name in ("one", "two")
    ]
    np.testing.assert_array_equal(confusions[0].values, confusions[1].values)
    images = [
        figures.load(next((folders / name).rglob("test_mistakes.npz"))) for name in ("one", "two")
    ]
    np.testing.assert_array_equal(images[0].images, images[1].images)


def test_one_folder_is_written_by_process_0(folders, two):
    assert [found["process"] for found in two] == [0, 1]
    environment = json.loads((folders / "two" / "environment.json").read_text())
    assert environment["process_count"] == 2 and len(environment["devices"]) == 8
    names = {p.name.split(".")[0] for p in (folders / "two").iterdir()}
    assert names == {p.name.split(".")[0] for p in (folders / "one").iterdir()}
    assert len(list((folders / "two").glob("events.*"))) == 1
    assert json.loads((folders / "two" / "result.json").read_text())["status"] == "done"


def test_checkpoints_of_two_processes_come_back_split(one, two):
    for found in (*one, *two):
        # data=2 x fsdp=4: almost everything lies in quarters.
        assert found["on_a_device"] < 0.4 * found["parameters"]


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize(
    ("grid", "parts"),
    [
        ("data", [[0, 2], [1, 2]]),
        ("mixed", [[0, 2], [1, 2]]),
        ("tensor", [[0, 1], [0, 1]]),
    ],
)
def test_each_reads_its_part_of_a_batch(two, grid, parts, split):
    """That the parts make the whole batch, the workers have asserted."""
    assert [found[grid][split]["part"] for found in two] == parts


@pytest.mark.parametrize("grid", ["data", "mixed"])
def test_evaluation_reads_each_example_once(one, two, grid):
    whole = one[0][grid]["val"]["rows"]
    parts = [found[grid]["val"]["rows"] for found in two]
    assert len(whole) == len(set(whole)) and len(whole) % 16, "the last batch is padded"
    assert sorted(parts[0] + parts[1]) == sorted(whole)
    assert not set(parts[0]) & set(parts[1])
