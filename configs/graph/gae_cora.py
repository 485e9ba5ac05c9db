"""Graph auto-encoder on Cora: which papers cite each other (Kipf and Welling 2016,
arXiv:1611.07308, table 1).

    python train.py --config=configs/graph/gae_cora.py

Expected: AUC 91.0 and average precision 92.0 % on 10 % of the edges and as many pairs without
one (a redo of 30 runs has 90.6 / 89.8 AUC); 5 % are left for validation, which chooses nothing: 200
epochs, the last weights. Ten members, each with its own split, as the paper's later runs have it.
"""

from ml_collections import ConfigDict

from configs.common import citation


def get_config() -> ConfigDict:
    """The values; the command line may change each of them."""
    return ConfigDict(citation.gae(variational=False, baseline=0.91))
