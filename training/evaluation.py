"""Which evaluators run when, and what they found together."""

from collections.abc import Callable, Sequence
from typing import Any

from training.checks import check_selected
from training.compiled import Compiled
from training.contracts import Evaluator, Report, TrainState

Record = Callable[[str, Report], None]


class Evaluations:
    """A run's evaluators; every process calls them in the same order."""

    def __init__(self, evaluators: Sequence[Evaluator], compiled: Compiled, metric: str) -> None:
        self.evaluators, self.compiled, self.metric = evaluators, compiled, metric
        # What each evaluator gave when it first ran.
        self._given: dict[int, set[str]] = {}

    def due(self, step: int) -> list[int]:
        """Positions of those that run after a step."""
        return [i for i, e in enumerate(self.evaluators) if e.every > 0 and step % e.every == 0]

    def run(self, due: Sequence[int], state: TrainState, record: Record) -> dict[str, Any]:
        """Their scalars, {"val/accuracy": value or [m]}; `record` gets each split's Report.

        Raises:
          ConfigError: none of those that have run gives the metric that selects.
        """
        scalars: dict[str, Any] = {}
        for i in due:
            found = self._run(self.evaluators[i], state, record)
            scalars.update(found)
            self._given.setdefault(i, set(found))
        check_selected(self.metric, self.evaluators, self._given)
        return scalars

    def test(self, state: TrainState, record: Record) -> dict[str, Any]:
        """The scalars of those that run once, after training, on the chosen weights."""
        scalars: dict[str, Any] = {}
        for evaluator in self.evaluators:
            if evaluator.every == 0:
                scalars.update(self._run(evaluator, state, record))
        return scalars

    def _run(self, evaluator: Evaluator, state: TrainState, record: Record) -> dict[str, Any]:
        found = evaluator.run(self.compiled, state)
        record(evaluator.split, found)
        return {f"{evaluator.split}/{name}": value for name, value in found.scalars.items()}
