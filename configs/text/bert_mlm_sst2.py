"""A small BERT that guesses masked words of SST-2's sentences (Devlin et al. 2018,
arXiv:1810.04805).

    python train.py --config=configs/text/bert_mlm_sst2.py --workdir=weights/bert_mlm_sst2
    python train.py --config=configs/text/bert_sst2.py:weights/bert_mlm_sst2

Expected: a loss of 4.7, 2 nats below the entropy of single word pieces, 6.7, and 25 % of masked
pieces right; weights to fine-tune (the second command). 4 layers of width 128, pieces of a
vocabulary of 4,000 trained on the same sentences.
"""

from ml_collections import ConfigDict

from configs.common import small_bert, sst2


def get_config() -> ConfigDict:
    """The values; the command line may change each of them."""
    data = sst2.data(sst2.PIECES, small_bert.MASKED_BATCH)
    return ConfigDict(small_bert.masked(data, sst2.EXAMPLES))
