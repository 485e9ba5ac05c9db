"""ViT-S/16 on ImageNet: the plain recipe of "Better plain ViT baselines for ImageNet-1k".

    python train.py --config=configs/vision/vit_s16_imagenet.py

Expected: 76.5 % top-1 on the 50,000 validation images after 90 epochs, 6 to 7 hours on a TPU v3-8
(Beyer, Zhai and Kolesnikov 2022, arXiv:2205.01580; google-research/big_vision
configs/vit_s16_i1k.py). Batch 1024, Adam at 1e-3 with 10,000 updates of warm-up and a cosine,
clipping at 1, RandAugment(2, 10), mixup 0.2, global average pooling, fixed 2-D positions. TRAP:
their weight decay of 1e-4 is not multiplied by the rate; AdamW's is, so it is 0.1 here. Differs:
no hidden layer before the head, float32 momentum.
"""

from ml_collections import ConfigDict

from configs.common.epochs import steps


def get_config(arg: str = "90") -> ConfigDict:
    """`arg` is the number of epochs; the paper also has 150 and 300."""
    batch_size, examples = 1024, 1_281_167 * 99 // 100
    return ConfigDict(
        {
            "model": {
                "name": "vision.vit",
                "variant": "S",
                "patch_size": 16,
                "pool": "gap",
                "positions": "sincos2d",
                "dtype": "bfloat16",
            },
            "data": {
                "source": {"name": "imagenet2012"},
                "batch_size": batch_size,
                "splits": {"train": "train[:99%]", "val": "train[99%:]", "test": "validation"},
                "transforms": (
                    "random_resized_crop:224,0.05",
                    "flip",
                    "randaugment:2,10",
                    "normalise",
                    "mixup:0.2",
                ),
                "eval_transforms": ("resize_small:256", "center_crop:224", "normalise"),
            },
            "task": {"name": "classification"},
            "algorithm": {"name": "supervised"},
            "optimizer": {
                "name": "adamw",
                "learning_rate": 1e-3,
                "weight_decay": 0.1,
                "schedule": "cosine",
                "warmup_steps": 10_000,
                "clip_norm": 1.0,
            },
            "evaluators": (
                {"name": "standard", "split": "val", "every": 2500},
                {"name": "standard", "split": "test"},
                {"name": "classification", "split": "test"},
                {"name": "attention", "split": "test"},
            ),
            "train": {
                "steps": steps(float(arg or 90), examples, batch_size, 100),
                "log_every": 50,
                "save_every": 1000,
            },
            "baseline": {
                "kind": "published",
                "metric": "test/accuracy",
                "value": 0.765,
                "source": "arXiv:2205.01580; google-research/big_vision configs/vit_s16_i1k.py",
                "protocol": "90 epochs, batch 1024, train[:99%], last weights",
                "verified": True,
                "not_run_here": "needs an accelerator: 7 hours on a TPU v3-8, and ImageNet",
            },
        }
    )
