"""What a language model writes: the first texts of a split, continued, beside how they go on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluators.common.passes import few
from evaluators.common.text import cell, decoder
from training.compiled import evaluation_key
from training.config import bounded
from training.contracts import Algorithm, Pipeline, Report, TrainState
from training.figures import TextTable
from training.mesh import gather


@dataclass(frozen=True)
class Config:
    """Attributes:

    examples: how many texts are continued.
    prompt: tokens of a text that are given, at most half of a row.
    length: tokens that are written, at most the rest of a row.
    temperature: 0 writes the likeliest token.
    top_k: how many of the likeliest tokens are drawn from; 0 for all.
    top_p: the probability that the tokens drawn from reach together; 1 for all.
    """

    examples: int = 4
    prompt: int = 32
    length: int = 128
    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 1.0


TINY: dict[str, Any] = {"examples": 2, "prompt": 4, "length": 8}


def build(
    config: Config, algorithm: Algorithm, pipeline: Pipeline, environment: Any
) -> Callable[[Any, TrainState], Report]:
    """Returns run(compiled, state) -> Report with the figure "continuations", member 0's.

    The report is empty where the algorithm generates nothing, or no row of the first batch begins
    with a document as long as the prompt.
    """
    del environment
    for name in ("examples", "prompt", "length"):
        where = f"evaluators: {name} of 'generation'"
        bounded(getattr(config, name), 1, float("inf"), where)
    members = algorithm.members
    decode = decoder(pipeline, "tokens")
    method = {name: getattr(config, name) for name in ("temperature", "top_k", "top_p")}

    def run(compiled: Any, state: TrainState) -> Report:
        local = next(iter(pipeline.batches(0)))
        if not hasattr(algorithm, "generate") or "targets" not in local:
            return Report()
        stored = _texts(compiled, local)
        row = stored["tokens"].shape[1]
        given = max(1, min(config.prompt, row // 2))
        length = min(config.length, row - given)
        if "segments" in stored:
            long_enough = (stored["segments"][:, :given] == 1).all(axis=1)
            stored = {name: array[long_enough] for name, array in stored.items()}
        if not len(stored["tokens"]) or length < 1:
            return Report()
        # Prompts of one length: a row of padding would be continued too.
        prompts = {"tokens": stored["tokens"][:, :given], "mask": stored["mask"]}
        batch = compiled.put(few(prompts, config.examples, compiled.mesh))
        key = evaluation_key(state, "generate", 0)
        made = compiled.generate(state, batch, key, length=length, **method)["tokens"]
        made = gather(made, batch["mask"], axis=int(members > 1))
        made = made[0] if members > 1 else made
        rows = [
            tuple(cell(decode(ids)) for ids in (true[:given], said, true[given : given + length]))
            for true, said in zip(stored["tokens"], made, strict=False)
        ]
        where = "" if members == 1 else f" (member 0 of {members})"
        title = f"Continuations of {length} tokens, {_described(config)}{where}"
        columns = ("given", "written", "as it goes on")
        return Report(figures={"continuations": TextTable(title, columns, tuple(rows))})

    return run


def _texts(compiled: Any, local: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The unpadded rows of a batch, of member 0 where they have their own."""
    batch = compiled.put(local)
    if len(batch["mask"].shape) == 2:
        batch = {name: array[0] for name, array in batch.items()}
    wanted = {name: batch[name] for name in ("tokens", "segments", "mask") if name in batch}
    return gather(wanted, batch["mask"])


def _described(config: Config) -> str:
    if not config.temperature:
        return "each the likeliest"
    parts = [f"temperature {config.temperature:g}"]
    parts += [f"top {config.top_k}"] if config.top_k else []
    parts += [f"top p {config.top_p:g}"] if config.top_p < 1 else []
    return ", ".join(parts)
