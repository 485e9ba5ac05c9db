"""A small BERT that guesses masked words of Shakespeare's lines (Devlin et al. 2018,
arXiv:1810.04805).

    python train.py --config=configs/text/bert_mlm_shakespeare.py --workdir=weights/bert_shakespeare
    python train.py --config=configs/text/bert_word_order.py:weights/bert_shakespeare

Expected: a loss of 3.16, 2.6 nats below the entropy of single word pieces, 5.80, and 35 % of masked
pieces right; weights to fine-tune (the second command). 4 layers of width 128, pieces of a
vocabulary of 1,000 trained on the same lines; 28 minutes on one core.
"""

from ml_collections import ConfigDict

from configs.common import shakespeare, small_bert


def get_config() -> ConfigDict:
    """The values; the command line may change each of them."""
    data = shakespeare.lines(small_bert.MASKED_BATCH, inverted=0.0)
    return ConfigDict(small_bert.masked(data, shakespeare.LINES))
