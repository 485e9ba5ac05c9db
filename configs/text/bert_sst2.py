"""A small BERT on SST-2, from its own masked language model or from scratch.

    python train.py --config=configs/text/bert_mlm_sst2.py --workdir=weights/bert_mlm_sst2
    python train.py --config=configs/text/bert_sst2.py:weights/bert_mlm_sst2
    python train.py --config=configs/text/bert_sst2.py

Expected: 2 points or more between the two on the 1,821 test sentences, about 78 and 76 %.
"""

from ml_collections import ConfigDict

from configs.common import sst2
from configs.common.epochs import steps

SCRATCH, MASKED = "scratch", "weights/bert_mlm_sst2"


def get_config(arg: str = SCRATCH) -> ConfigDict:
    """The values; `arg` is the folder of a run of bert_mlm_sst2, or scratch."""
    batch_size = 32
    epoch = steps(1, sst2.EXAMPLES, batch_size)
    scratch = arg == SCRATCH
    more = {} if scratch else {"init_from": arg}
    return ConfigDict(
        {
            "model": sst2.small_bert("classes"),
            "data": sst2.data(sst2.PIECES, batch_size),
            "task": {"name": "sequence_classification"},
            "algorithm": {"name": "supervised"},
            "optimizer": sst2.optimizer(3e-4, epoch),
            "evaluators": sst2.evaluators(epoch),
            "train": sst2.train(5 * epoch, epoch, **more),
            "baseline": sst2.own(
                "6,920 sentences, the best of 5 epochs on dev",
                not_run_here="no run of it is finished yet",
                beside=(MASKED,) if scratch else (),
            ),
        }
    )
