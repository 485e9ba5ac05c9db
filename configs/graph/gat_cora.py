"""GAT on Cora: 2708 papers, 7 classes (Velickovic et al. 2017, arXiv:1710.10903, table 2).

    python train.py --config=configs/graph/gat_cora.py

Expected: 83.0 +- 0.7 % test accuracy over 100 runs, which are members here, each with its own
stopping: patience of 100 epochs, renewed when validation loss or accuracy improves, and the weights
of the last time that both did are tested.
"""

from ml_collections import ConfigDict

from configs.common import citation


def get_config() -> ConfigDict:
    """The values; the command line may change each of them."""
    return ConfigDict(citation.gat("cora", baseline=0.83, spread=0.007))
