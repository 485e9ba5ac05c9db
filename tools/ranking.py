"""What a sweep shows: its progress, the table at its end, and index.html."""

import logging
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath
from rich.table import Table

from tools import show as shown
from tools import studies
from tools.space import Dimension
from training import drawing, figures, files, plots, report, results, wording
from training.progress import Terminal, setup_logging

log = logging.getLogger("reprise")
MOST_ROWS = 30


@dataclass(frozen=True)
class Row:
    """A trial that ended.

    Attributes:
      number: from 0.
      state: complete | pruned | failed.
      value: of the selected metric, the mean over its seeds; None unless complete.
      values: by seed.
      chosen: {key: value}.
      seconds: of its runs.
      failure: why it failed.
    """

    number: int
    state: str
    value: float | None
    values: tuple[float, ...]
    chosen: Mapping[str, Any]
    seconds: float
    failure: str


@dataclass(frozen=True)
class Found:
    """What a sweep found.

    Attributes:
      name: the config's.
      metric: such as "val/accuracy"; `smaller` says whether less is better.
      keys: what was searched.
      trials: the best first, then those without a value, by number.
      importances: {key: share}, the largest first; {} where nothing can be said.
      log_keys: the keys that were searched by their logarithm.
    """

    name: str
    metric: str
    smaller: bool
    keys: tuple[str, ...]
    trials: tuple[Row, ...]
    importances: Mapping[str, float]
    log_keys: frozenset[str]


def gather(study: Any, metric: str, name: str, dimensions: Sequence[Dimension]) -> Found:
    """Everything that is shown, out of a study."""
    states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    best = studies.complete(study)
    order = best + [t for t in studies.finished(study) if t.value is None or t not in best]
    rows = tuple(
        Row(
            number=t.number,
            state=states[t.state.name],
            value=t.value if t.state.name == "COMPLETE" else None,
            values=tuple(t.user_attrs.get(studies.VALUES, ())),
            chosen=t.params,
            seconds=t.user_attrs.get(studies.SECONDS, 0.0),
            failure=t.user_attrs.get(studies.FAILURE, ""),
        )
        for t in order
    )
    return Found(
        name=name,
        metric=metric,
        smaller=study.direction.name == "MINIMIZE",
        keys=tuple(d.key for d in dimensions),
        trials=rows,
        importances=studies.importances(study, dimensions),
        log_keys=frozenset(d.key for d in dimensions if d.kind == "log"),
    )


def amount(metric: str, value: float | None) -> str:
    """A value as all programs of this project print it."""
    return shown.amount(metric, value)


def setting(value: Any) -> str:
    """A searched value, numbers by four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def settings(chosen: Mapping[str, Any]) -> str:
    """'(learning_rate 0.01, hidden 16)' of a trial's values."""
    pairs = (f"{key.rpartition('.')[2]} {setting(value)}" for key, value in chosen.items())
    return f"({', '.join(pairs)})"


class Bar(Terminal):
    """Trials done with their rate and the time left: a bar, or lines where stderr is no
    terminal.
    """

    def __init__(self, total: int, done: int, metric: str) -> None:
        super().__init__("[dim]{task.fields[best]}")
        self.total, self.done, self.metric = total, done, metric
        self._start, self._began = done, time.monotonic()
        setup_logging()
        if self.bar is not None:
            self._task = self.bar.add_task("sweep", total=total, completed=done, rate="", best="")

    def ended(self, number: int, said: str, complete: Sequence[Any]) -> None:
        """A trial has ended; `complete` are the study's, the best first."""
        self.done += 1
        best = f"best {amount(self.metric, complete[0].value)}" if complete else ""
        line = f"trial {number}: {said}"
        seconds = (time.monotonic() - self._began) / (self.done - self._start)
        rate = f"{60 / max(seconds, 1e-9):.3g} trials/min"
        if self.bar is None:
            left = wording.duration(seconds * max(self.total - self.done, 0))
            log.info("%d/%d  %s  %s  %s, %s left", self.done, self.total, line, best, rate, left)
            return
        self.bar.update(self._task, completed=self.done, rate=rate, best=best)
        self.bar.console.print(line, markup=False, highlight=False)


def show(found: Found, out: Path) -> None:
    """Writes index.html, prints the table and where things lie."""
    write(found, out)
    table = Table(title=f"{found.name}: {found.metric}, {_better(found)}", title_justify="left")
    for name, *cells in (_columns(found), *_cells(found)[:MOST_ROWS]):
        if not table.columns:
            for column in (name, *cells):
                table.add_column(column, overflow="fold")
        else:
            table.add_row(name, *cells)
    shown.console().print(table)
    if len(found.trials) > MOST_ROWS:
        print(f"and {len(found.trials) - MOST_ROWS} more, in the page")
    for key, share in found.importances.items():
        print(f"{100 * share:5.1f} %  of the variance: {key}")
    if found.trials and found.trials[0].value is not None:
        print(f"best config: python train.py --config={shlex.quote(str(out / 'best.json'))}")
    print(f"page: {out / 'index.html'}")


def _better(found: Found) -> str:
    return f"{'less' if found.smaller else 'more'} is better"


def _columns(found: Found) -> tuple[str, ...]:
    seeds = ("95 % interval",) if any(len(t.values) > 1 for t in found.trials) else ()
    return ("trial", found.metric, *seeds, *found.keys, "seconds", "")


def _cells(found: Found) -> list[tuple[str, ...]]:
    rows = []
    for trial in found.trials:
        interval = results.interval(trial.values)
        ends = " to ".join(amount(found.metric, v) for v in interval) if interval else "-"
        why = trial.failure.splitlines()[-1] if trial.failure else ""
        state = "" if trial.state == "complete" else f"{trial.state} {why}".strip()
        rows.append((
            str(trial.number), amount(found.metric, trial.value),
            *((ends,) if "95 % interval" in _columns(found) else ()),
            *(setting(trial.chosen.get(k, "-")) for k in found.keys),
            f"{trial.seconds:.1f}", state,
        ))  # fmt: skip
    return rows


def pictures(found: Found) -> list[figures.Figure]:
    """The importances, the values in the order of the trials, and by each number searched."""
    drawn: list[figures.Figure] = []
    if found.importances:
        drawn.append(
            figures.Bars(
                "Importance of each parameter",
                tuple(found.importances),
                np.array(list(found.importances.values())),
                percent=True,
            )
        )
    known = sorted((t for t in found.trials if t.value is not None), key=lambda t: t.number)
    values = np.array([t.value for t in known], np.float64)
    if len(known) > 1:
        best = np.minimum if found.smaller else np.maximum
        drawn.append(
            figures.Curve(
                "Best so far",
                np.array([t.number for t in known], np.float64),
                {"best so far": best.accumulate(values), "trial": values},
                x_label="trial",
                y_label=wording.spoken(found.metric),
            )
        )
    for key in found.keys:
        given = [t.chosen[key] for t in known]
        if len(known) < 2 or any(isinstance(v, str) for v in given):
            continue
        log_axis = key in found.log_keys
        x = np.log10(given) if log_axis else np.asarray(given, np.float64)
        label = f"log10 of {key}" if log_axis else key
        points = np.stack([x, values], axis=1)
        drawn.append(
            figures.Scatter(key, points, x_label=label, y_label=wording.spoken(found.metric))
        )
    return drawn


def write(found: Found, out: Path) -> None:
    """index.html: the best trial, the importances, and every trial."""
    best = found.trials[0] if found.trials and found.trials[0].value is not None else None
    percent = wording.is_percentage(found.metric)
    drawn = [
        plots.draw_curve(f, percent) if isinstance(f, figures.Curve) else drawing.draw(f)
        for f in pictures(found)
    ]
    table = figures.TextTable("", _columns(found), tuple(_cells(found)))
    states = [t.state for t in found.trials]
    page = report.fill(
        "sweep.html.j2",
        name=found.name,
        metric=wording.spoken(found.metric),
        better=_better(found),
        best=wording.show(best.value if best else None, found.metric),
        chosen=[(k, setting(v)) for k, v in best.chosen.items()] if best else [],
        counts=[(s, states.count(s)) for s in ("complete", "pruned", "failed")],
        importances=[d for d in drawn if d["kind"] == "bars"],
        plots=[d for d in drawn if d["kind"] != "bars"],
        table=drawing.draw(table),
        failures=[(t.number, t.failure) for t in found.trials if t.failure],
        command=f"python train.py --config={shlex.quote(str(out / 'best.json'))}",
    )
    files.write_whole(epath.Path(out) / "index.html", page)
