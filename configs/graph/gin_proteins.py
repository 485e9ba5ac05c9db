"""GIN-0 on PROTEINS: 1113 proteins, enzymes or not (Xu et al. 2018, arXiv:1810.00826, table 1).

    python train.py --config=configs/graph/gin_proteins.py
    python train.py --config=configs/graph/gin_proteins.py:validated

Expected: 76.2 +- 2.8 % over the 10 published folds, each a member. The paper chooses the
epoch by the folds that it tests; the second command chooses on a tenth of each training fold, and
its number is the one to expect of new graphs: 73.7 % measured, 74.8 % by the paper's choice.
"""

from ml_collections import ConfigDict

from configs.common import gin


def get_config(arg: str = "paper") -> ConfigDict:
    """The values; `arg` is how the epoch is chosen, paper or validated."""
    config = ConfigDict(gin.gin("PROTEINS", arg, baseline=0.762, spread=0.028))
    config.baseline.short = (
        "The mean is within the tolerance, the interval of ten folds is wider than it. The paper "
        "chose width, batch and dropout by these folds; here one of its settings is run, and no "
        "other was tried."
    )
    return config
