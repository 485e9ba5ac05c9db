"""GAT on Pubmed: 19717 papers, 3 classes (Velickovic et al. 2017, arXiv:1710.10903, table 2).

    python train.py --config=configs/graph/gat_pubmed.py

Expected: 79.0 +- 0.3 % test accuracy over 100 runs, which are members here, each with its own
stopping: patience of 100 epochs, renewed when validation loss or accuracy improves, and the weights
of the last time that both did are tested. Pubmed has 8 output heads, rate 0.01 and L2 1e-3.
"""

from ml_collections import ConfigDict

from configs.common import citation


def get_config() -> ConfigDict:
    """The values; the command line may change each of them."""
    config = ConfigDict(citation.gat("pubmed", baseline=0.79, spread=0.003))
    config.model.output_heads = 8
    config.optimizer.learning_rate = 0.01
    config.optimizer.weight_decay = 1e-3
    config.baseline.not_run_here = "the files of Pubmed could not be had"
    return config
