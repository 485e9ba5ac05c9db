"""Writes on with a run: python -m tools.generate --workdir=DIR --prompt="ROMEO:".

A language model continues the prompt, which streams out as it is made: a compiled function reads
the prompt into the model's cache, another makes a few tokens a call. A model that remembers only so
many tokens begins again with the last of them when its cache is full. A sequence-to-sequence model
translates the prompt. Beams follow whole texts, which cannot stream.
"""

import logging
from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import Any

import jax
import numpy as np

from tasks.common import sampling
from tools import codecs, command_line, launching, parts
from training.contracts import ConfigError, Tree
from training.progress import setup_logging

log = logging.getLogger("reprise")

# Tokens of a call: few enough to stream, enough that calling does not show.
CHUNK = 16
LENGTH = 200
TEMPERATURE = 0.8
# What decodes to this is the beginning of a character whose other bytes are yet to come.
UNFINISHED = "\N{REPLACEMENT CHARACTER}"


def run(argv: Sequence[str]) -> int:
    """Prints the text; returns the exit code."""
    arguments, _ = _parser().parse(argv)
    if arguments.length is not None and arguments.length < 1:
        raise ConfigError(f"--length={arguments.length}: it must be at least 1")
    setup_logging()
    values = parts.values_of(arguments.workdir)
    launching.prepare(values)
    restored = parts.restore(arguments.workdir, arguments.checkpoint)
    if not hasattr(restored.parts.algorithm, "generate"):
        raise ConfigError(
            f"task.name is {values['task']['name']!r}, which generates no text; language_modelling "
            "and sequence_to_sequence do"
        )
    writer = Writer(restored)
    out = Printer()
    for text in writer.texts(arguments):
        out.show(text)
    out.end()
    return 0


def _parser() -> command_line.Parser:
    parser = command_line.Parser(
        "python -m tools.generate", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--workdir", required=True, help="the run's folder")
    parser.add_argument(
        "--checkpoint", default="tested", help="tested (what the run tests), best, last or a step"
    )
    parser.add_argument("--prompt", required=True, help="what is continued, or translated")
    parser.add_argument(
        "--length", type=int,
        help=f"most new tokens; default {LENGTH}, of translations task.max_length",
    )  # fmt: skip
    parser.add_argument(
        "--temperature", type=float,
        help=f"0 for the likeliest token; default {TEMPERATURE}, of translations 0",
    )  # fmt: skip
    parser.add_argument("--top_k", type=int, default=0, help="draw from the k likeliest tokens")
    parser.add_argument("--top_p", type=float, default=1.0, help="draw from the likeliest p")
    parser.add_argument("--beams", type=int, help="follow as many texts, and print the best")
    parser.add_argument(
        "--length_penalty", type=float,
        help="alpha, by which beams of other lengths compare; default 0, or the task's",
    )  # fmt: skip
    parser.add_argument("--seed", type=command_line.seed, default=0, help="of the draws; default 0")
    return parser


class Printer:
    """Prints a growing text as far as it is new and whole."""

    def __init__(self) -> None:
        self._text, self._shown = "", ""

    def show(self, text: str, whole: bool = False) -> None:
        """What is new of `text`, which begins with what was shown."""
        self._text = text
        text = text if whole else text.rstrip(UNFINISHED)
        if text.startswith(self._shown):
            print(text[len(self._shown) :], end="", flush=True)
            self._shown = text

    def end(self) -> None:
        """The rest, and the end of the line."""
        self.show(self._text, whole=True)
        print(flush=True)


class Writer:
    """A restored run that writes; of an ensemble, its first member."""

    def __init__(self, restored: parts.Restored) -> None:
        algorithm: Any = restored.parts.algorithm
        weights = algorithm.member(algorithm.weights(restored.state), 0)
        self.task = getattr(algorithm, "algorithm", algorithm).task
        self.params, self.mutable = weights.params, weights.mutable
        self.compiled, self.values = restored.compiled, restored.parts.values
        self.decode = restored.parts.train.decode
        self.codecs = codecs.of_run(self.values)

    def texts(self, arguments: Any) -> Iterator[str]:
        """The text so far, longer from one to the next."""
        key, length = jax.random.key(arguments.seed), arguments.length or LENGTH
        beams = arguments.beams or getattr(self.task.config, "beams", 1)
        if arguments.length_penalty is not None and beams == 1:
            raise ConfigError(
                "--length_penalty is for beams, and there is one: give --beams=4, say"
            )
        if "source" in self.codecs:
            method = _method(arguments, 0.0)
            yield self.translated(arguments.prompt, key, method, arguments.length or 0)
            return
        ids = self.prompt(arguments.prompt)
        method = sampling.Method(**_method(arguments, TEMPERATURE))
        if method.beams > 1:
            options = {
                "beams": method.beams, "length_penalty": method.length_penalty, "length": length
            }  # fmt: skip
            made = self._generated({"tokens": np.array([ids], np.int32)}, key, options)
            yield self.decode["tokens"](ids + made)
            return
        yield self.decode["tokens"](ids)
        for made in self.continued(ids, method, length, key):
            yield self.decode["tokens"](ids + made)

    def prompt(self, text: str) -> list[int]:
        """The ids that a language model goes on from."""
        codec = self.codecs["text"]
        ids = codecs.encode(codec, text, "--prompt")
        if self.values["data"]["pipeline"] == "texts" and "bos" in codec.special:
            # There each document has its own beginning; a stream that is cut has none.
            ids = [codec.special["bos"], *ids]
        limit = self.task.limit
        if limit and len(ids) > limit:
            raise ConfigError(
                f"--prompt has {len(ids)} tokens, but the model remembers {limit} "
                "(model.max_length)"
            )
        return ids

    def continued(
        self, ids: list[int], method: sampling.Method, length: int, key: jax.Array
    ) -> Iterator[list[int]]:
        """All new tokens so far, a few more from one to the next."""
        task, limit = self.task, self.task.limit
        chunk = max(1, min(CHUNK, limit // 4)) if limit else CHUNK
        kept = max(limit - chunk, 1)
        if 0 < kept < limit == len(ids):
            log.warning(
                "--prompt fills what the model remembers, %s tokens: it is continued from its last "
                "%s", limit, kept,
            )  # fmt: skip
        begin = self.compiled.program(task.begin)

        @cache
        def go_on(count: int) -> Any:
            def more(params: Tree, mutable: Tree, front: Any, key: jax.Array) -> Any:
                step = task.step_fn(params, mutable)
                tokens, _, front = sampling.sample(
                    step, front, key, count, method, task.eos, task.pad
                )
                return tokens[0], front

            return self.compiled.program(more)

        made: list[int] = []
        used = 0
        front: Any = None
        while len(made) < length:
            if front is None or 0 < limit <= used:
                known = ids + made
                if 0 < limit <= len(known):
                    # Of one shape from the second time on, which leaves room for a call.
                    known = known[-kept:]
                front = self._begin(begin, known)
                used = len(known)
            count = min(chunk, max(limit - used, 1)) if limit else chunk
            # Positions begin again with the cache: so that draws do not, what is made counts.
            drawn = jax.random.fold_in(key, len(made))
            tokens, front = go_on(count)(self.params, self.mutable, front, drawn)
            used += count
            found = np.asarray(tokens).tolist()
            ended = task.eos in found
            made += found[: found.index(task.eos)] if ended else found
            yield made[:length]
            if ended:
                return

    def _begin(self, begin: Any, ids: list[int]) -> Any:
        return begin(self.params, self.mutable, {"tokens": np.array([ids], np.int32)})

    def translated(self, text: str, key: jax.Array, method: dict[str, Any], length: int) -> str:
        """The translation of a source, without special tokens; of a length of 0, the task's."""
        codec = self.codecs["source"]
        ids = codecs.around(codec, codecs.encode(codec, text, "--prompt"))
        most = self.values["data"]["max_length"]
        if len(ids) > most:
            raise ConfigError(
                f"--prompt has {len(ids)} tokens, but the model has read texts of {most} at most "
                "(data.max_length)"
            )
        batch = {
            "source": np.array([ids], np.int32),
            "source_lengths": np.array([len(ids)], np.int32),
        }
        return self.decode["target"](self._generated(batch, key, {**method, "length": length}))

    def _generated(
        self, batch: dict[str, np.ndarray], key: jax.Array, options: dict[str, Any]
    ) -> list[int]:
        generate = self.compiled.program(partial(self.task.generate, **options))
        made = generate(self.params, self.mutable, batch, key)
        return np.asarray(made["tokens"])[0].tolist()


def _method(arguments: Any, temperature: float) -> dict[str, Any]:
    """What the arguments say of the method; `temperature` where they say nothing of it."""
    method = {"top_k": arguments.top_k, "top_p": arguments.top_p}
    if arguments.beams is not None:
        method["beams"] = arguments.beams
        temperature = 0.0
    if arguments.length_penalty is not None:
        method["length_penalty"] = arguments.length_penalty
    chosen = temperature if arguments.temperature is None else arguments.temperature
    return {**method, "temperature": chosen}


if __name__ == "__main__":
    command_line.main(run)
