"""GLUE (Wang et al. 2018, arXiv:1804.07461): sentences and pairs of them, by the task's name.

    task   form                   classes                                      train  validation
    cola   sentence               unacceptable, acceptable                      8551        1043
    sst2   sentence (phrases)     negative, positive                           67349         872
    mrpc   pair                   not_equivalent, equivalent                    3668         408
    qqp    pair                   not_duplicate, duplicate                    363849       40430
    stsb   pair                   a number from 0 to 5                          5749        1500
    mnli   premise, hypothesis    entailment, neutral, contradiction          392702   9815, 9832
    qnli   question, sentence     entailment, not_entailment                  104743        5463
    rte    pair                   entailment, not_entailment                    2490         277
    wnli   pair                   not_entailment, entailment                     635          71

TFDS's builder `glue` 2.0.0. The labels of the test splits are not published, so that they are left
out here: what is tested is a validation split. MNLI has two, "validation_matched" and
"validation_mismatched".
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.names import nearest
from data.raw import RawFile
from data.sources.common import tfds_texts
from data.sources.common.published import Published
from data.text.kinds import fake_sentence
from training.contracts import ConfigError, Info

_GLUE = "https://dl.fbaipublicfiles.com/glue/data/"
_SENTEVAL = "https://dl.fbaipublicfiles.com/senteval/senteval_data/"
_DEV_IDS = (
    "https://firebasestorage.googleapis.com/v0/b/mtl-sentence-representations.appspot.com/o/"
    "data%2Fmrpc_dev_ids.tsv?alt=media&token=ec5c0836-31d5-48f4-b431-7480817f1adc"
)
_VERSION = "2.0.0"


@dataclass(frozen=True)
class Task:
    """One of the benchmark's.

    Attributes:
      files: the raw files: names, sizes, sums and addresses.
      features: the builder's names of the one or two texts.
      classes: names; () where a number is asked for.
      counts: examples by split.
    """

    files: tuple[RawFile, ...]
    features: tuple[str, ...]
    classes: tuple[str, ...]
    counts: tuple[tuple[str, int], ...]


def _zip(name: str, size: int, sha256: str) -> tuple[RawFile, ...]:
    return (RawFile(name, size, sha256, _GLUE + name),)


def _counts(train: int, validation: int) -> tuple[tuple[str, int], ...]:
    return (("train", train), ("validation", validation))


_ENTAILS = ("entailment", "not_entailment")
TASKS = {
    "cola": Task(
        _zip(
            "CoLA.zip", 376971, "f212fcd832b8f7b435fb991f101abf89f96b933ab400603bf198960dfc32cbff"
        ),
        ("sentence",),
        ("unacceptable", "acceptable"),
        _counts(8551, 1043),
    ),
    "sst2": Task(
        _zip(
            "SST-2.zip", 7439277, "d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa"
        ),
        ("sentence",),
        ("negative", "positive"),
        _counts(67349, 872),
    ),
    "mrpc": Task(
        (
            RawFile(
                "msr_paraphrase_train.txt",
                1047044,
                "60a9b09084528f0673eedee2b69cb941920f0b8cd0eeccefc464a98768457f89",
                f"{_SENTEVAL}msr_paraphrase_train.txt",
            ),
            RawFile(
                "msr_paraphrase_test.txt",
                441275,
                "a04e271090879aaba6423d65b94950c089298587d9c084bf9cd7439bd785f784",
                f"{_SENTEVAL}msr_paraphrase_test.txt",
            ),
            RawFile(
                "data_mrpc_dev_ids.tsv",
                6222,
                "971d7767d81b997fd9060ade0ec23c4fc31cbb226a55d1bd4a1bac474eb81dc7",
                _DEV_IDS,
            ),
        ),
        ("sentence1", "sentence2"),
        ("not_equivalent", "equivalent"),
        _counts(3668, 408),
    ),
    "qqp": Task(
        _zip(
            "QQP.zip", 41696084, "40e7c862c04eb26ee04b67fd900e76c45c6ba8e6d8fab4f8f1f8072a1a3fbae0"
        ),
        ("question1", "question2"),
        ("not_duplicate", "duplicate"),
        _counts(363849, 40430),
    ),
    "stsb": Task(
        _zip(
            "STS-B.zip", 802872, "e60a6393de5a8b5b9bac5020a1554b54e3691f9d600b775bd131e613ac179c85"
        ),
        ("sentence1", "sentence2"),
        (),
        _counts(5749, 1500),
    ),
    "mnli": Task(
        _zip(
            "MNLI.zip",
            312783507,
            "e7c1d896d26ed6caf700110645df426cc2d8ebf02a5ab743d5a5c68ac1c83633",
        ),
        ("premise", "hypothesis"),
        ("entailment", "neutral", "contradiction"),
        (("train", 392702), ("validation_matched", 9815), ("validation_mismatched", 9832)),
    ),
    "qnli": Task(
        _zip(
            "QNLIv2.zip",
            10627589,
            "e634e78627a29adaecd4f955359b22bf5e70f2cbd93b493f2d624138a0c0e5f5",
        ),
        ("question", "sentence"),
        _ENTAILS,
        _counts(104743, 5463),
    ),
    "rte": Task(
        _zip("RTE.zip", 697150, "6bf86de103ecd335f3441bd43574d23fef87ecc695977a63b82d5efb206556ee"),
        ("sentence1", "sentence2"),
        _ENTAILS,
        _counts(2490, 277),
    ),
    "wnli": Task(
        _zip("WNLI.zip", 28999, "ae0e8e4d16f4d46d4a0a566ec7ecceccfd3fbfaa4a7a4b4e02848c0f2561ac46"),
        ("sentence1", "sentence2"),
        ("not_entailment", "entailment"),
        _counts(635, 71),
    ),
}


@dataclass(frozen=True)
class Config:
    """Attributes:

    task: cola | sst2 | mrpc | qqp | stsb | mnli | qnli | rte | wnli.
    """

    task: str = "sst2"


TINY: dict[str, object] = {}


def build(config: Config) -> Published:
    """The source; raises ConfigError for an unknown task."""
    if config.task not in TASKS:
        raise ConfigError(f"data.source.task is {config.task!r}: {nearest(config.task, TASKS)}")
    task = TASKS[config.task]
    numbers = not task.classes
    info = Info(
        dict(task.counts),
        num_classes=len(task.classes),
        class_names=task.classes,
        num_targets=int(numbers),
    )
    return tfds_texts.published(
        f"glue/{config.task}",
        _VERSION,
        task.files,
        dict(zip(("text", "pair"), task.features, strict=False)),
        info,
        functools.partial(_made_up, len(task.features), len(task.classes)),
    )


def _made_up(texts: int, classes: int, rng: np.random.Generator) -> dict[str, Any]:
    label = np.int32(rng.integers(classes)) if classes else np.float32(rng.uniform(0, 5))
    made = {name: fake_sentence(rng, 4, 40) for name in ("text", "pair")[:texts]}
    return made | {"label": label}
