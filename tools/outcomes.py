"""Records of results: results/<field>/<config>.json, made of finished runs and of nothing else.

A record holds the config that ran, the metric by repeat, and what its runs say of themselves. What
the config says of its baseline today, and the verdict that follows, are written into it whenever
the pages are (tools/board.py): neither needs a rerun.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath

from tools import find, parts, recorded, resolve, trivial
from training import config as configs
from training import folder, records, verdict
from training.contracts import ConfigError

# Two runs that differ in nothing else are repeats of one another: the seed, how many members share
# the run, where it ran, how (and not what) it computed, and what is said of the baseline.
FREE = (
    *folder.FREE_ON_RESUME,
    "baseline.",
    "train.seed",
    "train.ensemble_by",
    "model.attention_kernel",
)
MEMBERS = "train.ensemble"
# Of a config that has no record: it comes after those that are known to be cheaper.
UNKNOWN_SECONDS = 1800.0
CURVE_POINTS = 60
# The repository's own records.
OWN = find.ROOT / "results"


@dataclass(frozen=True, eq=False)
class Row:
    """A config, and what is known of its number.

    Attributes:
      spec: "graph/gin_mutag", or "graph/gin_mutag:validated" with an argument.
      values: the config as it is today.
      record: what was measured; None without a record.
      guess: seconds that all its repeats may take, where it has no record.
    """

    spec: str
    values: Mapping[str, Any]
    record: Mapping[str, Any] | None = None
    guess: float = UNKNOWN_SECONDS

    @property
    def baseline(self) -> Mapping[str, Any]:
        """The config's section."""
        return self.values["baseline"]

    @property
    def field(self) -> str:
        """Such as "graph"."""
        return self.spec.partition("/")[0]

    @property
    def config(self) -> str:
        """What --config takes."""
        name, colon, argument = self.spec.partition(":")
        return f"configs/{name}.py{colon}{argument}"

    @property
    def planned(self) -> int:
        """Repeats of its whole protocol: the config's members, or what the verdict asks for."""
        members = self.values["train"]["ensemble"]
        return members if members > 1 else verdict.repeats_needed(self.baseline)

    @property
    def seconds_each(self) -> float:
        """Of one repeat, by the record or the guess."""
        return self.seconds / (len(self.record["values"]) if self.record else self.planned)

    @property
    def seconds(self) -> float:
        """What the record's runs took together, or a guess."""
        return self.record["seconds"] if self.record else self.guess

    @functools.cached_property
    def verdict(self) -> verdict.Verdict:
        """By the one rule, from the record and what the config says today."""
        record = self.record
        if record is None:
            return verdict.judge(self.baseline, [], None)
        if differences := changed(record["resolved"], self.values):
            return verdict.of_another_config(told(differences))
        repeats, members = list(record["values"].values()), self.values["train"]["ensemble"]
        return verdict.judge(self.baseline, repeats, record["interval"], record["seconds"], members)


def path_of(spec: str, out: Path) -> Path:
    """The record's file: results/graph/gin_mutag.validated.json of graph/gin_mutag:validated.

    An argument that is a folder has dashes for its slashes.
    """
    name, colon, argument = spec.partition(":")
    return out / f"{name}{colon and '.'}{argument.replace('/', '-')}.json"


def rows(out: Path) -> list[Row]:
    """Every config, and after it those of its arguments whose number stands beside it."""
    return [_row(spec, values, out) for spec, values in specs()]


def _row(spec: str, values: Mapping[str, Any], out: Path) -> Row:
    row = Row(spec, values, recorded.read(path_of(spec, out)))
    own = row.record or recorded.read(path_of(spec, OWN))
    # What the repository's own record says of the cost is a guess for any other folder's.
    return replace(row, guess=replace(row, record=own).seconds_each * row.planned) if own else row


def specs() -> Iterator[tuple[str, dict[str, Any]]]:
    """(spec, resolved config) of all configs."""
    for name in find.configs():
        values = resolve.resolve(resolve.load_file(f"configs/{name}.py"))
        yield name, values
        for argument in values["baseline"]["beside"]:
            loaded = resolve.load_file(f"configs/{name}.py:{argument}")
            yield f"{name}:{argument}", resolve.resolve(loaded)


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """{key: (in a run, in the config)} of what a number depends on.

    A key that came since the run has its default there.
    """
    found = configs.differences(resolve.complete(old), new)
    found = {k: v for k, v in found.items() if not _free(k)}
    metrics = old["baseline"]["metric"], new["baseline"]["metric"]
    return found if metrics[0] == metrics[1] else found | {"baseline.metric": metrics}


def _free(key: str) -> bool:
    return key == MEMBERS or key.startswith(FREE)


def told(differences: Mapping[str, tuple[Any, Any]]) -> str:
    """Differences in one line."""
    return "; ".join(f"{k}: {a!r} there, {b!r} now" for k, (a, b) in differences.items())


def belongs(workdir: str, candidates: Sequence[Row]) -> Row:
    """The row whose config a finished run has.

    Raises ConfigError for a run that is not done, is a smoke run, or has another config.
    """
    values = parts.values_of(workdir)
    if values["smoke"]:
        raise ConfigError(f"{workdir} is a smoke run: made-up data measures nothing")
    if records.read(workdir).result.get("status") != "done":
        raise ConfigError(f"{workdir} is not finished: run train.py on it again")
    named = [row for row in candidates if row.spec.partition(":")[0] == values["name"]]
    if not named:
        known = configs.nearest(values["name"], [row.spec for row in candidates])
        raise ConfigError(f"{workdir} is a run of {values['name']!r}: {known}")
    differences = {row.spec: changed(values, row.values) for row in named}
    nearest = min(named, key=lambda row: len(differences[row.spec]))
    if differences[nearest.spec]:
        raise ConfigError(
            f"{workdir} is of another config than {nearest.spec} is now: "
            f"{told(differences[nearest.spec])}"
        )
    return nearest


def make(row: Row, workdirs: Sequence[str]) -> dict[str, Any]:
    """The record of finished runs of a row's config.

    Raises ConfigError for a seed that comes twice, a repeat that has no number, a damaged result.
    """
    runs = [records.read(workdir) for workdir in workdirs]
    for workdir, run in zip(workdirs, runs, strict=True):
        if wrong := recorded.fault_of_result(run.result):
            raise ConfigError(f"{workdir}/result.json is damaged: {wrong}")
    values: dict[str, float] = {}
    for workdir, run in zip(workdirs, runs, strict=True):
        new = dict(zip(map(str, run.result["seeds"]), run.result["values"], strict=True))
        if again := sorted(set(new) & set(values)):
            raise ConfigError(f"{workdir}: seed {again[0]} is in another of these runs already")
        if None in new.values():
            raise ConfigError(f"{workdir}: a repeat's {run.result['metric']} is no number")
        values |= new
    resolved = configs.plain(row.values)
    resolved["train"]["ensemble"] = max(len(run.result["values"]) for run in runs)
    names = sorted(set.intersection(*(set(run.result["scalars"]) for run in runs)))
    return judged(
        row,
        {
            "config": row.spec,
            "hash": fingerprint(row.values),
            "metric": row.baseline["metric"],
            "values": values,
            **recorded.summary(list(values.values())),
            "trivial": trivial.trivial(row.values),
            "seconds": round(sum(run.result["seconds"] for run in runs), 1),
            "steps": max(run.result["steps"] for run in runs),
            "scalars": {name: _mean(runs, name) for name in names},
            "runs": [_origin(run) for run in runs],
            "curves": curves(runs, row.baseline["metric"].rpartition("/")[2]),
            "resolved": resolved,
        },
    )


def judged(row: Row, record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with what the config says of its baseline today, and the verdict by the rule."""
    found = Row(row.spec, row.values, record).verdict
    stated = {k: v for k, v in row.baseline.items() if k != "metric"}
    return {
        **record,
        "verdict": {"word": found.word, "sentence": found.sentence, "bound": found.bound},
        "baseline": configs.plain(stated),
    }


def better_kept(row: Row, record: Mapping[str, Any]) -> str:
    """Why a new record must not take the place of the row's own: more repeats; "" where it may."""
    if row.record is None or changed(row.record["resolved"], row.values):
        return ""
    old, new = len(row.record["values"]), len(record["values"])
    return f"{new} repeats, and the record has {old}" if new < old else ""


def write(row: Row, record: Mapping[str, Any], out: Path) -> None:
    """Writes a record whole or not at all."""
    path = path_of(row.spec, out)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder.write_json(epath.Path(path), record)


def fingerprint(values: Mapping[str, Any]) -> str:
    """Eight digits of what a number depends on."""
    flat = configs.flatten(configs.plain(values))
    return configs.fingerprint({k: v for k, v in flat.items() if not _free(k)})


def _mean(runs: Sequence[records.Run], name: str) -> float | None:
    values = [run.result["scalars"][name] for run in runs]
    return None if None in values else float(np.mean(values))


def _origin(run: records.Run) -> dict[str, Any]:
    """What a run says of itself; never the machine's name."""
    said = run.environment
    return {
        "seeds": list(map(str, run.result["seeds"])),
        "seconds": run.result["seconds"],
        "commit": said.get("git_commit", ""),
        "devices": said.get("devices", []),
        "cpu_count": said.get("cpu_count"),
        "python": said.get("python", ""),
        "versions": said.get("versions", {}),
    }


def curves(runs: Sequence[records.Run], judged_name: str) -> dict[str, dict[str, list[Any]]]:
    """{"loss": {"train": [[step, mean, std or None], ...]}} of the loss and the judged metric.

    Means are over the members of an ensemble, or else over the runs at the steps that all have.
    """
    found: dict[str, dict[str, list[Any]]] = {}
    for name in dict.fromkeys(("loss", judged_name)):
        for split in runs[0].metrics:
            points = _points(runs, split, name)
            if len(points) > 1:
                found.setdefault(name, {})[split] = points
    return found


def _points(runs: Sequence[records.Run], split: str, name: str) -> list[Any]:
    series = [run.series(split, name) for run in runs]
    if len(runs) == 1:
        steps, means, std = series[0]
    else:
        tables = [dict(zip(s, v, strict=True)) for s, v, _ in series]
        steps = np.array(sorted(set.intersection(*map(set, tables))))
        stacked = np.array([[table[step] for step in steps] for table in tables])
        means, std = stacked.mean(axis=0), stacked.std(axis=0, ddof=1)
    chosen = np.unique(np.linspace(0, len(steps) - 1, CURVE_POINTS).astype(int))
    return [
        [int(steps[i]), _short(means[i]), None if std is None else _short(std[i])]
        for i in (chosen if len(steps) else ())
    ]


def _short(value: float) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None
