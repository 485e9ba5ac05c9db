"""Real batches of examples: a tf.data graph from batch numbers to arrays.

A batch number becomes positions, positions become examples, all of a batch at once; transforms that
work on one example only take the batch apart and put it together again. Every random number depends
on (seed, transform, position), never on the order in which threads work.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from data.draws import Draws, key_of
from data.examples import Arrays, Examples, Lazy, Memory, Source
from data.runtime import tensorflow, worker_threads
from data.transforms.common import parse
from training.contracts import ConfigError, DataError

if TYPE_CHECKING:
    from data.pipelines.examples import Plan

_PREFETCHED = 4
# In TensorFlow's messages: the operations that fail on the bytes of an image.
_DECODER = re.compile(r"Decode(Image|AndCropJpeg)|ExtractJpegShape")
_ENDLESS = 2**62


class Batches:
    """The batches of one plan; data is read and TensorFlow imported at the first of them."""

    def __init__(
        self,
        plan: "Plan",
        source: Source,
        specs: Mapping[str, jax.ShapeDtypeStruct],
        num_batches: int | None,
    ):
        self._plan, self._source, self._specs = plan, source, specs
        self._whole_pass = num_batches
        self._fault: Exception | None = None

    def iterate(self, start: int, num_batches: int | None) -> Iterator[Arrays]:
        """This process's part of batch number start, start + 1, ..."""
        dataset = self._from_zero if start == 0 else self._dataset(start, num_batches)
        # By name now: when Python ends in the middle of a stream, the module is already gone.
        operation_failed = tensorflow().errors.OpError
        try:
            yield from dataset.as_numpy_iterator()
        except operation_failed as error:
            if self._fault is not None:
                raise self._fault from error
            if _DECODER.search(str(error)):
                raise DataError(f"an image does not decode: {_reason(error)}") from error
            raise

    @functools.cached_property
    def _examples(self) -> tuple[Examples, np.ndarray | None]:
        """The split's examples, and the positions of the usable ones where that is not all."""
        split = self._plan.split
        examples = self._source.open(split.split)
        if isinstance(examples, Memory):
            if len(examples) != self._source.info.num_examples[split.split]:
                raise DataError(
                    f"the split {split.split!r} holds {len(examples)} examples: not all"
                )
            cut = {name: array[split.start : split.stop] for name, array in examples.arrays.items()}
            return Memory(cut), None
        if examples.good is None:
            return examples, np.arange(split.start, split.stop)
        good = examples.good
        good = good[(good >= split.start) & (good < split.stop)]
        if not len(good):
            raise DataError(f"no example of the split {split.split!r} can be used")
        return examples, good

    @functools.cached_property
    def _from_zero(self) -> Any:
        return self._dataset(0, self._whole_pass)

    def _dataset(self, start: int, num_batches: int | None) -> Any:
        tf = tensorflow()
        # AutoGraph would read and rewrite the source of each function, which none of them needs.
        plain = tf.autograph.experimental.do_not_convert
        plan, threads = self._plan, worker_threads()
        calls = {"num_parallel_calls": threads, "deterministic": True}
        dataset = tf.data.Dataset.range(start, _ENDLESS if num_batches is None else num_batches)
        dataset = dataset.map(plain(self._gather(tf)), **calls)
        batched = True
        for level, steps in _segments(self._numbered_steps()):
            if level == "example" and batched:
                dataset = dataset.map(plain(_numbered(tf)), **calls).unbatch()
            elif level == "batch" and not batched:
                dataset = dataset.batch(plan.local, drop_remainder=True, **calls)
                dataset = dataset.map(plain(lambda p, batch: (p[0], batch)), **calls)
            batched = level == "batch"
            dataset = dataset.map(plain(self._transform(steps, batched)), **calls)
        if not batched:
            self._check(dataset.element_spec[1], batched=False)
            dataset = dataset.batch(plan.local, drop_remainder=True, **calls)
        dataset = dataset.map(plain(lambda _, batch: batch), **calls)
        self._check(dataset.element_spec)
        return dataset.prefetch(_PREFETCHED).with_options(_options(tf, threads))

    def _numbered_steps(self) -> list[tuple[int, parse.Step]]:
        """The steps by their place in the config, behind `decode` where nothing else decodes."""
        steps = list(enumerate(self._plan.steps))
        examples = self._examples[0]
        encoded = isinstance(examples, Lazy) and examples.dtypes.get("image") == "S"
        if encoded and not (steps and steps[0][1].transform.takes_encoded):
            steps.insert(0, (-1, parse.Step("decode", parse.one("decode", "decode"))))
        return steps

    def _gather(self, tf: Any) -> Any:
        """batch number -> (position of its first example here, {name: [b, ...]})."""
        plan = self._plan
        examples, good = self._examples
        size = len(examples) if good is None else len(good)
        if isinstance(examples, Memory):
            arrays = {name: tf.constant(array) for name, array in examples.arrays.items()}

            def read(rows: Any) -> Any:
                return {name: tf.gather(array, rows) for name, array in arrays.items()}
        else:
            dtypes = {
                n: tf.string if d == "S" else tf.as_dtype(d) for n, d in examples.dtypes.items()
            }
            fetch = examples.fetch
            table = tf.constant(good)

            def on_host(positions: np.ndarray) -> list[np.ndarray]:
                try:
                    fetched = fetch(positions)
                except Exception as error:
                    # TensorFlow would pass on a text only.
                    self._fault = error
                    raise
                return [fetched[name] for name in dtypes]

            def read(rows: Any) -> Any:
                arrays = tf.numpy_function(on_host, [tf.gather(table, rows)], list(dtypes.values()))
                return {
                    n: tf.ensure_shape(a, [plan.local]) for n, a in zip(dtypes, arrays, strict=True)
                }

        def gather(number: Any) -> Any:
            first = number * plan.batch_size + plan.first
            positions = first + tf.range(plan.local, dtype=tf.int64)
            if plan.train:
                return first, read(_shuffled(tf, positions, size, plan.seed))
            mask = positions < size
            rows = tf.where(mask, positions, size - 1)
            index = rows + plan.split.start if good is None else tf.gather(tf.constant(good), rows)
            index = tf.where(mask, index, -1)
            return first, read(rows) | {"mask": mask, "index": index}

        return gather

    def _transform(self, steps: tuple[tuple[int, Any], ...], batched: bool) -> Any:
        """(position, example or batch) -> the same after `steps`."""
        info, seed, count = (
            self._source.info,
            self._plan.seed,
            self._plan.local if batched else None,
        )

        def transform(first: Any, example: Any) -> Any:
            for number, step in steps:
                draws = Draws(key_of(seed, "transform", number, step.text), first, count)
                example = step.transform.apply(example, draws, info)
            return first, example

        return transform

    def _check(self, element: Mapping[str, Any], batched: bool = True) -> None:
        """Raises ConfigError where the transforms leave images of different sizes."""
        for name, spec in self._specs.items():
            shape = (
                tuple(element[name].shape) if batched else (self._plan.local, *element[name].shape)
            )
            if None in shape:
                raise ConfigError(
                    f"the transforms leave {name!r} of different sizes, {list(shape)}: "
                    "end them in 'resize:N' or a crop to one size"
                )
            expected = (self._plan.local, *spec.shape[1:])
            assert shape == expected, f"{name}: {shape} is not the stand-ins' {expected}"
            assert element[name].dtype.as_numpy_dtype == spec.dtype, (name, element[name], spec)


def _reason(error: Exception) -> str:
    """The last part of the first line of TensorFlow's message, after the names of its stages."""
    text = str(error).partition("\n")[0]
    return " ".join(re.sub(r".*Iterator::\S* ", "", text).split())


def _segments(steps: list[tuple[int, Any]]) -> list[tuple[str, tuple[tuple[int, Any], ...]]]:
    """Runs of numbered steps at one level; "any" stays at the level that it finds."""
    segments: list[tuple[str, list[tuple[int, Any]]]] = []
    level = "batch"
    for number, step in steps:
        if step.transform.level != "any":
            level = step.transform.level
        if not segments or segments[-1][0] != level:
            segments.append((level, []))
        segments[-1][1].append((number, step))
    return [(level, tuple(run)) for level, run in segments]


def _numbered(tf: Any) -> Any:
    """(first position, batch) -> (positions [b], batch)."""

    def numbered(first: Any, batch: Any) -> Any:
        count = tf.shape(next(iter(batch.values())), out_type=tf.int64)[0]
        return first + tf.range(count), batch

    return numbered


def _shuffled(tf: Any, positions: Any, size: int, seed: int) -> Any:
    """Rows [b] of the examples at `positions` [b]: each epoch has its own permutation."""
    epochs, places = positions // size, positions % size
    key = key_of(seed, "order")
    low, high = (
        tf.fill(tf.shape(epochs), tf.constant(k, tf.uint32)) for k in (key & 0xFFFFFFFF, key >> 32)
    )
    return tf.raw_ops.RandomIndexShuffle(
        index=places,
        seed=tf.stack([low, high, tf.cast(epochs % 2**32, tf.uint32)], axis=1),
        max_index=tf.fill(tf.shape(places), tf.constant(size - 1, tf.int64)),
        rounds=4,
    )


def _options(tf: Any, threads: int) -> Any:
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    options.threading.private_threadpool_size = threads
    options.threading.max_intra_op_parallelism = 1
    return options
