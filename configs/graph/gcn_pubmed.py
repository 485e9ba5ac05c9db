"""GCN on Pubmed: 19717 papers, 3 classes, 20 labels a class
(Kipf and Welling 2016, arXiv:1609.02907, table 2).

    python train.py --config=configs/graph/gcn_pubmed.py

Expected: 79.0 % test accuracy, the mean of 100 initialisations, which are 100 members here, each
with its own stopping: at most 200 epochs, until the validation loss exceeds the mean of the last
10; the last weights are tested. --config.train.ensemble=1 trains one.
"""

from ml_collections import ConfigDict

from configs.common import citation


def get_config() -> ConfigDict:
    """The values; the command line may change each of them."""
    config = ConfigDict(citation.gcn("pubmed", baseline=0.79))
    config.baseline.not_run_here = "the files of Pubmed could not be had"
    return config
