"""A small BERT that guesses masked words of Shakespeare's lines (Devlin et al. 2018,
arXiv:1810.04805).

    python train.py --config=configs/text/bert_mlm_shakespeare.py --workdir=weights/bert_shakespeare
    python train.py --config=configs/text/bert_word_order.py:weights/bert_shakespeare

Expected: a loss of 3.16, 2.6 nats below the entropy of single word pieces, 5.80, and 35 % of masked
pieces right; weights to fine-tune (the second command). 4 layers of width 128, pieces of a
vocabulary of 1,000 trained on the same lines; 28 minutes on one core.
"""

from ml_collections import ConfigDict

from configs.common import shakespeare, text_classes
from configs.common.epochs import steps


def get_config() -> ConfigDict:
    """The values; the command line may change each of them."""
    batch_size = 64
    epoch = steps(1, shakespeare.LINES, batch_size)
    return ConfigDict(
        {
            "model": text_classes.small_bert("mlm", shakespeare.LONGEST),
            "data": shakespeare.lines(batch_size, inverted=0.0),
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
