"""tools.torture: kills the real train.py, and sees what did not survive."""

import argparse
import random

import numpy as np
import pytest

from tools import find, torture
from training.contracts import ConfigError, VerdictError

SMALL = ["--smoke", "--config.train.steps=24", "--config.train.save_every=8"]


def test_kills_are_survived_and_differences_seen(tmp_path, capsys):
    argv = ["--config=configs/vision/cnn_mnist.py", *SMALL, "--config.train.ensemble=2"]
    case = torture.Case("digits", argv, tmp_path)
    torture.measure(case)
    assert 0 < case.starting < case.seconds
    for _ in torture.torture(case, 1, random.Random(3)):
        pass
    assert sum(case.kills) == 1
    assert torture.compare(case)
    lines = len((tmp_path / "whole" / "metrics.jsonl").read_text().splitlines())
    said = capsys.readouterr().out
    assert "1 of 1 kills survived" in said and f"all {lines} metric lines bit for bit" in said
    # One digit of one line of the run that was killed.
    run = case.kills.index(1)
    metrics = tmp_path / str(run) / "metrics.jsonl"
    text = metrics.read_text()
    metrics.write_text(text[::-1].replace("1", "2", 1)[::-1])
    assert not torture.compare(case)
    assert f"0 of 1 kills survived, {len(case.kills)} runs: run {run}: metrics.jsonl differs" in (
        capsys.readouterr().out
    )


def test_one_bit_of_one_array():
    a = {"params/kernel": np.ones(3, np.float32), "step": np.int32(1)}
    b = {**a, "params/kernel": np.nextafter(a["params/kernel"], np.float32(2))}
    assert torture._unequal(a, a) is None
    assert torture._unequal(a, b) == "the last checkpoint's params/kernel differs"


def test_every_algorithm_is_tortured(tmp_path):
    cases = list(torture.chosen(argparse.Namespace(config=None), [], tmp_path))
    assert [case.folder.name for case in cases] == find.names("algorithm")
    assert sum("--config.train.ensemble=2" in case.argv for case in cases) == 1


def test_an_algorithm_that_no_config_uses(tmp_path, monkeypatch):
    monkeypatch.setattr(find, "names", lambda section: ["supervised", "wishful"])
    with pytest.raises(VerdictError, match="no config trains with the algorithm 'wishful'"):
        list(torture.chosen(argparse.Namespace(config=None), [], tmp_path))


def test_a_start_that_fails(tmp_path):
    """Its last line is told: here a config that does not exist."""
    case = torture.Case("none", ["--config=configs/vision/none.py"], tmp_path)
    with pytest.raises(VerdictError, match=r"exit code 2; its last line: error: --config="):
        torture.measure(case)


def test_no_kills():
    with pytest.raises(ConfigError, match="--kills=0"):
        torture.run(["--kills=0"])
