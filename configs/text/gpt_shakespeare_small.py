"""GPT of 0.8 M parameters on Tiny Shakespeare, by characters: nanoGPT's run for a laptop.

    python train.py --config=configs/text/gpt_shakespeare_small.py
    python train.py --config=configs/text/gpt_shakespeare_small.py:rotary
    python -m tools.generate --workdir=runs/text/gpt_shakespeare_small-... --prompt=ROMEO:

Expected: 1.88 nats a character on the last 10 % of the text (karpathy/nanoGPT, README), estimated
there from 20 batches of random blocks: "test_blocks/loss" here. "test/loss" is of the whole text,
every character once. 4 layers, 4 heads, width 128, blocks of 64, 2000 updates of 12 blocks.
Measured over ten seeds: 1.905, and 1.908 by the estimate. 1.88 is one run's; others' logs of the
same command end at 1.886, 1.908 and 1.915, and a rewrite in PyTorch followed this run to update
1000. With rotary positions (Su et al. 2021, arXiv:2104.09864) in place of learned ones, and nothing
else changed, three seeds end at 1.795: the second command.
"""

from ml_collections import ConfigDict

from configs.common import shakespeare


def get_config(arg: str = "learned") -> ConfigDict:
    """The values; `arg` is the positions, learned (the paper's) or rotary."""
    if arg not in ("learned", "rotary"):
        raise ValueError(f"{arg!r}: learned or rotary")
    steps = 2000
    recipe = shakespeare.gpt(
        width=128, depth=4, heads=4, dropout=0.0, block=64, batch=12, steps=steps
    )
    recipe["model"]["positions"] = arg
    held_out = "train[90%:]"
    protocol = (
        "first 90 % of the text trains; 2000 updates, last weights; the whole held-out text in "
        "place of 20 batches of random blocks, which are beside it"
    )
    published = {
        "kind": "published",
        "value": 1.88,
        "source": "karpathy/nanoGPT, README, the run on a laptop",
        "protocol": protocol,
        "verified": True,
        "beside": ("rotary",),
    }
    own = {"kind": "own", "protocol": f"rotary positions, else the same: {protocol}"}
    return ConfigDict(
        {
            **recipe,
            "data": {
                **recipe["data"],
                "splits": {"train": "train[:90%]", "test": held_out, "test_blocks": held_out},
                "random_blocks": {"test_blocks": 20},
            },
            "evaluators": (
                {
                    "name": "language_modelling",
                    "split": "test",
                    "options": {"characters": True},
                },
                {"name": "standard", "split": "test"},
                {"name": "standard", "split": "test_blocks"},
                {"name": "generation", "split": "test"},
                {"name": "text_attention", "split": "test"},
            ),
            "train": {"steps": steps, "log_every": 100, "save_every": 1000, "steps_per_call": 10},
            "baseline": {
                "metric": "test/loss",
                "direction": "min",
                **(published if arg == "learned" else own),
            },
        }
    )
