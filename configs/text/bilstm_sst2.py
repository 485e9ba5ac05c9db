"""Bidirectional LSTM on SST-2: is a sentence of a film review positive.

    python train.py --config=configs/text/bilstm_sst2.py

Expected: at least 78 % on the 872 dev sentences, from the 6,920 labelled sentences alone. With the
67,349 phrases of GLUE, as google/flax's example: configs/text/bilstm_glue.py.
"""

from ml_collections import ConfigDict

from configs.common import sst2, text_classes
from configs.common.epochs import steps


def get_config() -> ConfigDict:
    """The values; the command line may change each of them."""
    batch_size = 64
    epoch = steps(1, sst2.EXAMPLES, batch_size)
    return ConfigDict(
        {
            "model": sst2.bilstm(),
            "data": sst2.data(sst2.WORDS, batch_size),
            "task": {"name": "sequence_classification"},
            "algorithm": {"name": "supervised"},
            "optimizer": {
                "name": "adamw",
                "learning_rate": 1e-3,
                "schedule": "linear",
                "weight_decay": 0.01,
                "clip_norm": 1.0,
            },
            "evaluators": text_classes.evaluators(epoch),
            "train": text_classes.train(10 * epoch, epoch),
            "baseline": text_classes.own("6,920 sentences, the best of 10 epochs on dev"),
        }
    )
