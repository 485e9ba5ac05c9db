"""A classification small enough for ensembles, whose members stop improving each in its time.

Two classes by the sign of a product of two inputs (exclusive or); an eighth of the training labels
is wrong. Axes: `b` batch, `m` members.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax

from algorithms import ensemble, supervised
from training.contracts import Aux, Info, Mean, Pipeline
from training.gradients import Optimizer

EXAMPLES, HELD_OUT, BATCH, WIDTH = 64, 256, 32, 32


@dataclass(frozen=True)
class Classification:
    """A two-layer network on [b, 2]; noise on the inputs in training, so that keys matter."""

    noise: float = 0.1

    def init(self, key, batch):
        """(params, {"seen": examples trained on})."""
        first, second = jax.random.split(key)
        params = {
            "hidden": {"kernel": jax.random.normal(first, (2, WIDTH)), "bias": jnp.zeros(WIDTH)},
            "head": {"kernel": jax.random.normal(second, (WIDTH, 2)) / WIDTH, "bias": jnp.zeros(2)},
        }
        return params, {"seen": jnp.int32(0)}

    def logits(self, params, inputs):
        """[b, 2] -> [b, 2]."""
        hidden = jnp.tanh(inputs @ params["hidden"]["kernel"] + params["hidden"]["bias"])
        return hidden @ params["head"]["kernel"] + params["head"]["bias"]

    def loss(self, params, mutable, batch, key, step, train):
        """Cross-entropy in nats, and the accuracy."""
        inputs = batch["input"]
        if train:
            inputs = inputs + self.noise * jax.random.normal(key, inputs.shape)
            mutable = {"seen": mutable["seen"] + len(inputs)}
        logits = self.logits(params, inputs)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        loss = Mean.of(losses, batch.get("mask"))
        right = Mean.of(logits.argmax(-1) == batch["label"], batch.get("mask"))
        metrics = {"loss": loss, "accuracy": right}
        return loss.total / loss.count, Aux(mutable, metrics)

    def predict(self, params, mutable, batch, key):
        """Logits [b, 2]."""
        return {"logits": self.logits(params, batch["input"])}

    def explain(self, params, mutable, batch, key):
        """The slope of the difference of the logits by the input, [b, 2]."""
        difference = lambda inputs: self.logits(params, inputs) @ jnp.array([-1.0, 1.0])  # noqa: E731
        _, pull = jax.vjp(difference, batch["input"])
        return {"slope": pull(jnp.ones(len(batch["input"])))[0]}


def alone(**fields) -> supervised.Supervised:
    """One member."""
    optimizer = Optimizer(optax.adam(0.02), lambda step: 0.02, **fields)
    return supervised.build(supervised.Config(), Classification(), optimizer)


def build(
    members: int = 4, by: str = "vmap", data: str = "shared"
) -> tuple[ensemble.Ensemble, Pipeline]:
    """An ensemble over `alone()`, and its training batches."""
    algorithm = ensemble.build(ensemble.Config(members, by, data), alone())
    return algorithm, training(members if data == "own" else 0)


def examples(seed: int, size: int, wrong: float) -> dict[str, np.ndarray]:
    """`size` examples, a share of whose labels is wrong."""
    rng = np.random.default_rng(seed)
    inputs = rng.uniform(-1, 1, (size, 2)).astype(np.float32)
    labels = (inputs[:, 0] * inputs[:, 1] > 0) ^ (rng.uniform(size=size) < wrong)
    return {"input": inputs, "label": labels.astype(np.int32)}


def training(members: int = 0, seed: int = 0) -> Pipeline:
    """Random batches; of each member's own choice where `members` is given."""
    data = examples(0, EXAMPLES, 0.125)
    shape = (members, BATCH) if members else (BATCH,)

    def batches(start: int) -> Iterator[dict[str, np.ndarray]]:
        number = start
        while True:
            chosen = np.random.default_rng((seed, number)).integers(EXAMPLES, size=shape)
            yield {name: values[chosen] for name, values in data.items()}
            number += 1

    return Pipeline((specs(next(batches(0))),), Info({"train": EXAMPLES}, 2), batches)


def held_out() -> Pipeline:
    """HELD_OUT clean examples, the last batch padded."""
    data = examples(1, HELD_OUT, 0.0)
    size = 96

    def batch(number: int) -> dict[str, np.ndarray]:
        index = np.arange(number * size, (number + 1) * size)
        rows = {name: values[np.minimum(index, HELD_OUT - 1)] for name, values in data.items()}
        return {**rows, "index": np.minimum(index, HELD_OUT - 1), "mask": index < HELD_OUT}

    def batches(start: int) -> Iterator[dict[str, np.ndarray]]:
        yield from (batch(number) for number in range(start, -(-HELD_OUT // size)))

    return Pipeline(
        (specs(batch(0)),), Info({"val": HELD_OUT}, 2), batches, num_batches=-(-HELD_OUT // size)
    )


def specs(batch: dict[str, np.ndarray]) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes of a batch."""
    return {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in batch.items()}
