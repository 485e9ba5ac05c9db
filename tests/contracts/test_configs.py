"""Every config: it resolves, states its baseline, keeps its test set apart, runs with --smoke."""

import json
import math
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import train
from data import splits
from tests.conftest import ROOT
from tools import find, launching, parts, resolve
from training import config as configs
from training.contracts import is_test

NAMES = find.configs()


def load(name: str, smoke: bool = False) -> dict[str, Any]:
    return resolve.resolve(resolve.load_file(f"configs/{name}.py"), (), smoke)


def ranges(values: Mapping[str, Any]) -> dict[str, splits.Range]:
    source = values["data"]["source"]
    module = find.part("data.source", source["name"])
    keys = {k: v for k, v in source.items() if k != "name"}
    info = module.build(configs.typed(module.Config, keys, "data.source")).info
    return {k: splits.parse(v, info.num_examples) for k, v in values["data"]["splits"].items()}


def test_configs_are_found() -> None:
    assert "vision/vit_digits" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_resolves_to_itself(name: str) -> None:
    """config.json repeats the run: resolving what was resolved changes nothing, even as JSON."""
    values = load(name)
    assert values["name"] == name
    again = resolve.resolve(configs.plain(json.loads(json.dumps(values))))
    assert configs.differences(values, again) == {}
    assert configs.fingerprint(values) == configs.fingerprint(again)


@pytest.mark.parametrize("name", NAMES)
def test_it_builds(name: str) -> None:
    built = parts.build(load(name, smoke=True))
    assert built.evaluators
    assert built.train.specs


def counted_split(values) -> str:
    """The split whose number counts: "test", or "fold" where a paper chooses its epoch by it, which
    the config must then say, and beside which it must have a clean number.
    """
    if "fold" not in values["data"]["splits"]:
        return "test"
    text = (ROOT / "configs" / f"{values['name']}.py").read_text()
    assert ":validated" in text and "favours the number" in values["baseline"]["protocol"]
    return "fold"


@pytest.mark.parametrize("name", NAMES)
def test_its_baseline_is_complete(name: str) -> None:
    baseline = configs.typed(configs.Baseline, load(name)["baseline"], "baseline")
    assert baseline.kind in ("published", "own")
    assert baseline.direction in ("max", "min")
    assert re.fullmatch(rf"{counted_split(load(name))}/\w+", baseline.metric)
    assert baseline.protocol
    assert baseline.spread.kind in ("seeds", "folds", "splits", "episodes", "ci95", "none")
    assert (baseline.spread.n > 1) == (baseline.spread.kind != "none")
    if baseline.kind == "published":
        assert baseline.value is not None
        assert baseline.source
        assert baseline.tolerance is None or baseline.tolerance >= 0


@pytest.mark.parametrize("name", NAMES)
def test_its_docstring_is_a_recipe(name: str) -> None:
    """The command that runs it, and the number to expect of it."""
    text = (ROOT / "configs" / f"{name}.py").read_text().split('"""')[1]
    assert f"configs/{name}.py" in text or "make train" in text
    assert re.search(r"\d ?%|(RMSE|MAE|MRR|AUC|BLEU) \d", text)


@pytest.mark.parametrize("name", NAMES)
def test_its_test_set_is_kept_apart(name: str) -> None:
    values = load(name)
    found = ranges(values)
    assert counted_split(values) in found
    for held_out in ("val", "test", "fold"):
        if held_out in found:
            assert not found[held_out].overlaps(found["train"])
    if "val" in found:
        assert not found["val"].overlaps(found["test"])
    select, stopping = values["train"]["select"]["metric"], values["train"]["stopping"]
    assert not select or select.startswith(("val/", "fold/"))
    assert not [v for v in stopping.values() if isinstance(v, str) and v.startswith("test")]


@pytest.mark.parametrize("name", NAMES)
def test_its_evaluators_read_splits_that_exist(name: str) -> None:
    values = load(name)
    for evaluator in values["evaluators"]:
        assert evaluator["split"] in values["data"]["splits"]
    last = [e for e in values["evaluators"] if e["every"] == 0]
    counted = counted_split(values)
    assert counted in {e["split"] for e in last}
    assert all(is_test(e["split"]) for e in last) or {e["split"] for e in last} == {counted}
    assert all(e["every"] == 0 for e in values["evaluators"] if is_test(e["split"]))


@pytest.mark.parametrize("name", NAMES)
def test_its_folder_is_stable(name: str) -> None:
    first, second = (launching.workdir(load(name), None, False) for _ in range(2))
    assert first == second
    assert re.fullmatch(rf"runs/{name}-[0-9a-f]{{8}}", first)
    changed = resolve.resolve(resolve.load_file(f"configs/{name}.py"), ["train.seed=1"])
    assert launching.workdir(changed, None, False) != first


def test_folder_does_not_depend_on_the_order_of_keys() -> None:
    values = load("vision/vit_digits")
    turned = {k: values[k] for k in reversed(values)}
    assert configs.fingerprint(turned) == configs.fingerprint(values)


@pytest.fixture(scope="module")
def seconds() -> dict[str, float]:
    """Of each config's smoke run, filled as they run in this one process, and printed."""
    return {}


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_with_smoke(
    name: str, seconds: dict[str, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = time.perf_counter()
    workdir = tmp_path / "run"
    assert train.run([f"--config=configs/{name}.py", "--smoke", f"--workdir={workdir}"]) == 0
    seconds[name] = time.perf_counter() - begun
    with capsys.disabled():
        total = f"{len(seconds)} in {sum(seconds.values()):.1f} s"
        print(f" {name} --smoke: {seconds[name]:.1f} s; {total} ", end="", flush=True)
    result = json.loads((workdir / "result.json").read_text())
    assert result["status"] == "done"
    assert math.isfinite(result["value"])
    assert result["metric"] == load(name)["baseline"]["metric"]
    assert (workdir / "report.html").stat().st_size > 10_000
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert {line["split"] for line in lines} >= {"train", counted_split(load(name))}
    assert max(line["step"] for line in lines) == result["steps"]
