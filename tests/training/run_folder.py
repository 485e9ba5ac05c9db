"""A made-up run's folder, as `fit` writes one: real digits, a nearest-centroid classifier."""

import functools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
from sklearn.datasets import load_digits

from evaluators import attention, classification
from training import figures
from training.contracts import Info, Pipeline, Report

BASELINE: dict[str, Any] = {
    "kind": "published",
    "metric": "test/accuracy",
    "value": 0.9,
    "direction": "max",
    "spread": {"kind": "seeds", "value": 0.004, "n": 10},
    "tolerance": None,
    "source": "arXiv:0000.00000, Table 2",
    "protocol": "20 % held out; settings chosen on a validation part of the rest.",
    "verified": True,
}


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(standardised images [n, 8, 8, 1], labels [n], probabilities [n, 10]) of 360 digits."""
    data = load_digits()
    images = data.images[..., None].astype(np.float32) / 16
    train, test = slice(360, None), slice(0, 360)
    centroids = np.stack(
        [images[train][data.target[train] == c].mean(axis=0) for c in range(10)]
    ).reshape(10, -1)
    flat = images[test].reshape(360, -1)
    distances = ((flat[:, None] - centroids) ** 2).sum(axis=-1)
    scores = np.exp(-1.2 * (distances - distances.min(axis=1, keepdims=True)))
    probabilities = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    standardised = ((images[test] - 0.3053) / 0.3759).astype(np.float32)
    return standardised, data.target[test].astype(np.int32), probabilities


def digits_info(names: tuple[str, ...] = ()) -> Info:
    """What the digits' source states."""
    return Info({"test": 360}, 10, names, {"mean": (0.3053,), "std": (0.3759,)})


def pipeline(size: int = 64, names: tuple[str, ...] = (), order: Any = None) -> Pipeline:
    """Evaluation batches of the digits, the last one padded."""
    images, labels, _ = digits()
    index = np.arange(len(labels)) if order is None else np.asarray(order)

    def batches(start: int):
        for first in range(start * size, len(index), size):
            rows = index[first : first + size]
            mask = np.arange(size) < len(rows)
            rows = np.concatenate([rows, np.zeros(size - len(rows), rows.dtype)])
            yield {
                "image": images[rows],
                "label": labels[rows],
                "index": np.where(mask, rows, 0),
                "mask": mask,
            }

    specs = {
        name: jax.ShapeDtypeStruct(value.shape, value.dtype)
        for name, value in next(batches(0)).items()
    }
    return Pipeline((specs,), digits_info(names), batches, num_batches=-(-len(index) // size))


class FakeCompiled:
    """Predicts from a table of probabilities [n, k], or [m, n, k] with members."""

    def __init__(self, probabilities: np.ndarray, members: int = 1, tokens: int = 17):
        self.probabilities, self.tokens = probabilities, tokens
        self.algorithm: Any = SimpleNamespace(members=members, explain=None)
        self.mesh = SimpleNamespace(shape={"data": 1, "fsdp": 1})

    def put(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Host arrays stand in for placed ones."""
        return dict(batch)

    def predict(self, state: Any, batch: dict[str, Any], key: jax.Array) -> dict[str, Any]:
        """The rows of the table that the batch asks for; nonsense on padding."""
        found = self.probabilities[..., batch["index"], :].copy()
        found[..., ~batch["mask"], :] = 7.0
        return {"probabilities": found}

    def explain(self, state: Any, batch: dict[str, Any], key: jax.Array) -> dict[str, Any]:
        """Attention [b, 3, 4, l, l] that looks where there is ink; a member axis where asked."""
        members = self.algorithm.members
        patches = batch["image"].reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
        scores = np.pad(patches, ((0, 0), (self.tokens - 16, 0)))
        drift = np.random.default_rng(0).normal(size=(3, 4, self.tokens, self.tokens))
        logits = 2 * scores[:, None, None, None, :] * np.arange(1, 5)[:, None, None] / 2 + drift
        weights = np.exp(logits)
        weights /= weights.sum(axis=-1, keepdims=True)
        return {"attention": weights if members == 1 else np.stack([weights] * members)}


def state(members: int = 1) -> Any:
    """A state with nothing but a key."""
    key = jax.random.key(0)
    return SimpleNamespace(key=key if members == 1 else jax.random.split(key, members))


def evaluate(members: int = 1, names: tuple[str, ...] = ()) -> Report:
    """What the two drawing evaluators find on the digits."""
    probabilities = digits()[2]
    if members > 1:
        probabilities = np.stack([probabilities] * members)
    compiled = FakeCompiled(probabilities, members)
    data = pipeline(names=names)
    found: dict[str, Any] = {}
    scalars: dict[str, Any] = {}
    for run in (
        classification.build(classification.Config(), compiled.algorithm, data, None),
        attention.build(attention.Config(), compiled.algorithm, data, None),
    ):
        report = run(compiled, state(members))
        found |= report.figures
        scalars |= report.scalars
    return Report(scalars, found)


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    """JSON lines."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def metric_lines(steps: int, members: int) -> list[dict[str, Any]]:
    """A plausible training: falling losses, rising accuracy, a cosine learning rate."""
    random = np.random.default_rng(0)
    lines = []
    for step in range(20, steps + 1, 20):
        share = step / steps
        loss = 2.2 * np.exp(-6 * share) + 0.03 + 0.02 * random.random()
        train = {
            "loss": loss,
            "accuracy": 1 - 0.85 * np.exp(-7 * share),
            "learning_rate": 0.003 * min(1, 10 * share) * (1 + np.cos(np.pi * share)) / 2,
            "gradient_norm": 3 * np.exp(-2 * share) + random.random() * 0.2,
            "nonfinite": 0.0,
        }
        lines.append({"step": step, "split": "train", **train})
        if step % 100 == 0:
            val = {"loss": loss * 1.1 + 0.05, "accuracy": 0.982 - 0.8 * np.exp(-7 * share)}
            val["top5"] = min(1.0, val["accuracy"] + 0.015)
            lines.append({"step": step, "split": "val", **val})
    if members > 1:
        for line in lines:
            shares = {"loss": 0.2, "learning_rate": 0.0, "nonfinite": 0.0}
            for name in [n for n in line if n not in ("step", "split")]:
                line[f"{name}_std"] = shares.get(name, 0.01) * abs(float(line[name]))
    return lines


ENVIRONMENT = {
    "versions": {"jax": "0.10.2", "flax": "0.12.8", "optax": "0.2.8", "numpy": "2.4.1"},
    "python": "3.11.2",
    "platform": "Linux-6.1.0-18-amd64-x86_64-with-glibc2.36",
    "devices": ["cpu:0 cpu"],
    "process_count": 1,
    "cpu_count": 2,
    "hostname": "workbench",
    "git_commit": "4f1c2a9d0b7e63528c1f0a9e8d7c6b5a43210fed",
    "command": "python train.py --config=configs/vision/vit_digits.py --config.train.seed=0",
}


def config(members: int, baseline: dict[str, Any]) -> dict[str, Any]:
    """A resolved config."""
    return {
        "name": "vision/vit_digits",
        "smoke": False,
        "model": {"name": "vision.vit", "width": 64, "layers": 4, "heads": 4, "patch": 2},
        "data": {
            "source": {"name": "digits"},
            "batch_size": 64,
            "splits": {"train": "train[:80%]", "val": "train[80%:]", "test": "test"},
            "transforms": ["random_rotate:10", "to_float", "standardise"],
        },
        "task": {"name": "classification", "label_smoothing": 0.1},
        "algorithm": {"name": "supervised"},
        "optimizer": {"name": "adamw", "learning_rate": 0.003, "weight_decay": 0.05},
        "evaluators": [
            {"name": "standard", "split": "val", "every": 100},
            {"name": "classification", "split": "test", "every": 0, "options": {"bins": 15}},
        ],
        "mesh": {"data": -1, "fsdp": 1},
        "train": {
            "steps": 1200,
            "seed": 0,
            "ensemble": members,
            "select": {"metric": "val/accuracy", "mode": "max"},
        },
        "baseline": baseline,
    }


def timing_lines(steps: int) -> list[dict[str, Any]]:
    """Events, and rates that are nearly constant."""
    random = np.random.default_rng(1)
    events = [{"event": "compiled", "seconds": 4.21}, {"event": "first_step", "seconds": 9.84}]
    rates = [
        {
            "step": step,
            "steps_per_s": 88 + 4 * random.random(),
            "examples_per_s": 64 * (88 + 4 * random.random()),
            "seconds": step / 90,
            "wait_share": 0.013,
            "save_share": 0.002,
        }
        for step in range(20, steps + 1, 20)
    ]
    return [*events, *rates, {"event": "memory", "host_bytes": 1_312_000_000}]


def result(members: int, steps: int, baseline: dict[str, Any]) -> dict[str, Any]:
    """A finished run's result.json."""
    values = [round(0.9806 + 0.003 * np.sin(3 * i), 4) for i in range(members)]
    mean = float(np.mean(values))
    # t(.975, 4) / sqrt(5), for the five members of the tests.
    half = float(np.std(values, ddof=1)) * 1.24 if members > 1 else 0.0
    return {
        "name": "vision/vit_digits",
        "metric": "test/accuracy",
        "value": mean,
        "values": values,
        "interval": [mean - half, mean + half] if members > 1 else None,
        "seeds": [f"0.{i}" for i in range(members)] if members > 1 else [0],
        "selected": {
            "metric": "val/accuracy",
            "value": [0.985] * members if members > 1 else 0.985,
            "step": [900] * members if members > 1 else 900,
            "tested": "best",
        },
        "baseline": baseline,
        "steps": steps,
        "seconds": 16.4,
        "status": "done",
    }


def make(
    path: Path,
    *,
    members: int = 1,
    done: bool = True,
    baseline: dict[str, Any] | None = None,
    names: tuple[str, ...] = (),
    steps: int = 1200,
) -> Path:
    """Writes the folder and returns it."""
    path.mkdir(parents=True, exist_ok=True)
    baseline = BASELINE if baseline is None else baseline
    (path / "config.json").write_text(json.dumps(config(members, baseline)))
    (path / "environment.json").write_text(json.dumps(ENVIRONMENT))
    found = evaluate(members, names)
    lines = metric_lines(steps, members)
    confusion = found.figures["confusion"]
    figures.save(confusion, path / "figures" / "00000100" / "val_confusion.npz")
    if done:
        last = {name: float(np.mean(value)) for name, value in found.scalars.items()}
        lines.append({"step": steps, "split": "test", "loss": 0.071, "accuracy": 0.9806, **last})
        for name, figure in found.figures.items():
            figures.save(figure, path / "figures" / f"{steps:08d}" / f"test_{name}.npz")
        (path / "result.json").write_text(json.dumps(result(members, steps, baseline)))
    write_lines(path / "metrics.jsonl", lines)
    write_lines(path / "timings.jsonl", timing_lines(steps))
    return path
