"""Rows, records and runs that are made up, for the tests of reproductions."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools import outcomes, rerunning, resolve
from tools.outcomes import Row
from training import config as configs

TRIVIAL = {"name": "always the commonest class", "value": 0.1}


def row(
    spec: str = "vision/vit_digits",
    values: tuple[float, ...] = (0.9, 0.91, 0.92, 0.93, 0.94),
    seconds: float = 10.0,
    overrides: tuple[str, ...] = (),
    **baseline: Any,
) -> Row:
    """A row whose record has these values; none where there are none."""
    resolved = resolve.resolve(resolve.load_file("configs/vision/vit_digits.py"), overrides)
    resolved = {**resolved, "baseline": {**resolved["baseline"], **baseline}}
    record = {
        "values": {str(i): v for i, v in enumerate(values)},
        "metric": "test/accuracy",
        "mean": sum(values) / len(values) if values else None,
        "interval": [min(values), max(values)] if len(values) > 1 else None,
        "seconds": seconds,
        "resolved": configs.plain(resolved),
        "trivial": TRIVIAL,
        "scalars": {},
        "steps": 100,
        "curves": {},
        "runs": [
            {
                "seconds": seconds,
                "commit": "abc",
                "devices": [],
                "cpu_count": 2,
                "python": "3",
                "versions": {},
            }
        ],
    }
    return Row(spec, resolved, record if values else None)


def finish(workdir: Path, values: dict[str, Any], measured: list[float], seed: int = 0) -> None:
    """What a finished run leaves, as far as a record needs it."""
    workdir.mkdir(parents=True)
    values = {**values, "train": {**values["train"], "seed": seed}}
    members = len(measured) > 1
    result = {
        "metric": values["baseline"]["metric"],
        "values": measured,
        "seeds": [f"{seed}.{i}" for i in range(len(measured))] if members else [seed],
        "scalars": {"test/accuracy": sum(measured) / len(measured), "test/loss": 0.5},
        "seconds": 10.0,
        "steps": 100,
        "status": "done",
    }
    environment = {"git_commit": "abc", "devices": ["cpu:0 cpu"], "cpu_count": 2, "python": "3"}
    for name, content in (
        ("config", values), ("result", result), ("environment", environment),
    ):  # fmt: skip
        (workdir / f"{name}.json").write_text(json.dumps(configs.plain(content)))
    lines = [
        {"step": step, "split": split, "loss": 1 / step, "accuracy": 1 - 1 / (step + seed + 1)}
        for step in (50, 100)
        for split in ("train", "val")
    ]
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[str]]:
    """Lets the rows be these, and a run be a script of its spec; returns what was run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(outcomes.trivial, "trivial", lambda values: TRIVIAL)
    monkeypatch.setattr(rerunning, "POLL_SECONDS", 0.02)

    def plant(rows: list[Row], scripts: dict[str, str]) -> list[str]:
        ran: list[str] = []
        known = {r.spec: r for r in rows}

        def runs(found: Row, seeds: int | None, root: Path | None = None) -> list[rerunning.Run]:
            made = []
            for seed in range(seeds or 2):
                folder = (root or tmp_path / "runs") / f"{found.spec}-{seed}"
                script = scripts.get(found.spec, "")
                made.append(rerunning.Run((sys.executable, "-c", script), folder))
            return made

        execute = rerunning.execute

        def executed(run: rerunning.Run, *args: Any) -> None:
            execute(run, *args)
            spec, _, seed = str(run.workdir.relative_to(tmp_path / "runs")).rpartition("-")
            ran.append(f"{spec} {seed}")
            if not run.workdir.exists():
                finish(run.workdir, dict(known[spec].values), [0.9 + int(seed) / 100], int(seed))

        monkeypatch.setattr(rerunning, "runs", runs)
        monkeypatch.setattr(rerunning, "execute", executed)
        monkeypatch.setattr(outcomes, "rows", lambda out: [_read(r, out) for r in rows])
        return ran

    return plant


def _read(found: Row, out: Path) -> Row:
    path = outcomes.path_of(found.spec, out)
    return Row(found.spec, found.values, json.loads(path.read_text())) if path.exists() else found
