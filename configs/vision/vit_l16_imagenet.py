"""ViT-L/16 on ImageNet from scratch: the supervised recipe of "Masked Autoencoders ...".

    python train.py --config=configs/vision/vit_l16_imagenet.py

Expected: 82.6 % top-1 on the 50,000 validation images, by the averaged weights, after 200 epochs
(He et al. 2021, arXiv:2111.06377, appendix A.2 and table 11; 81.5 % without the average). AdamW,
b2 0.95, 1e-4 per 256 images at batch 4096, decay 0.3, 20 epochs of warm-up, RandAugment(9, 0.5),
mixup 0.8, CutMix 1.0, label smoothing 0.1, stochastic depth 0.2. The layers are one scan,
rematerialised, and FSDP splits the state over all devices. Times and memory on TPU slices: README.
Differs: mean over the patches in place of a class token; RandAugment(2, 9); mixup and CutMix each
on half of the batches, independently; 1 % of the training images are held out.
"""

from ml_collections import ConfigDict

from configs.common.epochs import steps

AUGMENTATION = (
    "random_resized_crop:224",
    "flip",
    "randaugment:2,9",
    "normalise",
    "mixup:0.8,0.5",
    "cutmix:1.0,0.5",
)


def get_config(arg: str = "200") -> ConfigDict:
    """`arg` is the number of epochs."""
    batch_size, examples = 4096, 1_281_167 * 99 // 100
    return ConfigDict(
        {
            "model": {
                "name": "vision.vit",
                "variant": "L",
                "patch_size": 16,
                "pool": "gap",
                "positions": "sincos2d",
                "stochastic_depth_rate": 0.2,
                "scan_layers": True,
                "remat": "full",
                "dtype": "bfloat16",
            },
            "data": {
                "source": {"name": "imagenet2012"},
                "batch_size": batch_size,
                "splits": {"train": "train[:99%]", "val": "train[99%:]", "test": "validation"},
                "transforms": AUGMENTATION,
                "eval_transforms": ("resize_small:256", "center_crop:224", "normalise"),
            },
            "task": {"name": "classification", "label_smoothing": 0.1},
            "algorithm": {"name": "supervised"},
            "optimizer": {
                "name": "adamw",
                "learning_rate": 1e-4 * batch_size / 256,
                "b2": 0.95,
                "weight_decay": 0.3,
                "schedule": "cosine",
                "warmup_steps": steps(20, examples, batch_size),
                "ema_decay": 0.9999,
            },
            "evaluators": (
                {"name": "standard", "split": "val", "every": 2500},
                {"name": "standard", "split": "test"},
                {"name": "classification", "split": "test"},
            ),
            "mesh": {"data": 1, "fsdp": -1},
            "train": {
                "steps": steps(float(arg or 200), examples, batch_size, 100),
                "log_every": 50,
                "save_every": 1000,
            },
            "baseline": {
                "kind": "published",
                "metric": "test/accuracy",
                "value": 0.826,
                "source": "arXiv:2111.06377, appendix A.2",
                "protocol": "200 epochs, batch 4096, averaged weights, centre crop 224 of 256",
                "verified": True,
                "not_run_here": "needs an accelerator: a TPU slice for days, and ImageNet",
            },
        }
    )
