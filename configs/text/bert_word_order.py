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

from configs.common import shakespeare, small_bert

PROTOCOL = "20,069 lines, half of them inverted; the best of 5 epochs on val"


def get_config(arg: str = small_bert.SCRATCH) -> ConfigDict:
    """The values; `arg` is the folder of a run of bert_mlm_shakespeare, or scratch."""
    data = shakespeare.lines(small_bert.CLASSES_BATCH, inverted=0.5)
    weights = "weights/bert_shakespeare"
    return ConfigDict(small_bert.classes(data, shakespeare.LINES, PROTOCOL, arg, weights))
