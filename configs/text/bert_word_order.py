"""Whether two words of a line of Shakespeare are inverted: a small BERT, from its own masked
language model or from scratch (bigram shift, Conneau et al. 2018, arXiv:1805.01070).

    python train.py --config=configs/text/bert_mlm_shakespeare.py --workdir=weights/bert_shakespeare
    python train.py --config=configs/text/bert_word_order.py:weights/bert_shakespeare
    python train.py --config=configs/text/bert_word_order.py

Expected, of the 1,769 test lines: 78.4 % from those weights, over three seeds; from scratch no
more than by chance, 50 %, after the same 5 epochs: which word goes before which is learned by
guessing words, and not from a label a line. 4 minutes a seed on one core.
"""

from ml_collections import ConfigDict

from configs.common import shakespeare, text_classes
from configs.common.epochs import steps

SCRATCH, MASKED = "scratch", "weights/bert_shakespeare"


def get_config(arg: str = SCRATCH) -> ConfigDict:
    """The values; `arg` is the folder of a run of bert_mlm_shakespeare, or scratch."""
    batch_size = 32
    epoch = steps(1, shakespeare.LINES, batch_size)
    scratch = arg == SCRATCH
    more = {} if scratch else {"init_from": arg}
    return ConfigDict(
        {
            "model": text_classes.small_bert("classes", shakespeare.LONGEST),
            "data": shakespeare.lines(batch_size, inverted=0.5),
            "task": {"name": "sequence_classification"},
            "algorithm": {"name": "supervised"},
            "optimizer": text_classes.optimizer(3e-4, epoch),
            "evaluators": text_classes.evaluators(epoch),
            "train": text_classes.train(5 * epoch, epoch, **more),
            "baseline": text_classes.own(
                "20,069 lines, half of them inverted; the best of 5 epochs on val",
                beside=(MASKED,) if scratch else (),
            ),
        }
    )
