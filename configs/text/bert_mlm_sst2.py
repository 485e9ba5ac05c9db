"""A small BERT that guesses masked words of SST-2's sentences (Devlin et al. 2018,
arXiv:1810.04805).

    python train.py --config=configs/text/bert_mlm_sst2.py --workdir=weights/bert_mlm_sst2
    python train.py --config=configs/text/bert_sst2.py:weights/bert_mlm_sst2

Expected: a loss of 4.7, 2 nats below the entropy of single word pieces, 6.7, and 25 % of masked
pieces right; weights to fine-tune (the second command). 4 layers of width 128, pieces of a
vocabulary of 4,000 trained on the same sentences.
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
            "model": text_classes.small_bert("mlm", max_length=64),
            "data": sst2.data(sst2.PIECES, batch_size),
            "task": {"name": "masked_language_modelling"},
            "algorithm": {"name": "supervised"},
            "optimizer": text_classes.optimizer(1e-3, epoch),
            "evaluators": (
                {"name": "standard", "split": "val", "every": 5 * epoch},
                {"name": "standard", "split": "test"},
            ),
            "train": {"steps": 40 * epoch, "log_every": epoch, "save_every": 5 * epoch},
            "baseline": {
                "kind": "own",
                "metric": "test/loss",
                "direction": "min",
                "protocol": "15 % of the pieces, the same ones in every evaluation; last weights",
            },
        }
    )
