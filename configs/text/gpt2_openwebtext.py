"""GPT-2 of 124 M parameters on OpenWebText (Radford et al. 2019; karpathy/nanoGPT, train_gpt2).

    python train.py --config=configs/text/gpt2_openwebtext.py:path/to/openwebtext
    make compile CONFIG=configs/text/gpt2_openwebtext.py

Expected: a loss of about 2.85 nats a token on 0.05 % of the documents, held out (README, 4 days of
8 A100). NOT RUN HERE: the texts could not be had. Tested are its smoke run and its 124,439,808
parameters; compiled for v5e:4x4 (the second command) it takes 9.3 of 16 GiB a device, and a
predicted 264 ms an update, 44 hours in all, at 54 % of the peak. The folder holds the documents as
.txt files (skylion007.github.io/OpenWebTextCorpus: 8 million, 41 GB) and tokenizer.json of GPT-2
(huggingface.co/openai-community/gpt2). They are read whole, once: that host needs some 200 GB of
memory.

Blocks of 1024 tokens, half a million tokens an update, 600,000 updates of AdamW at 6e-4, falling by
a cosine to a tenth. Differs: 512 blocks an update in place of 480, which slices divide; biases and
a vocabulary of 50,257 as GPT-2 has them, not 50,304 without; evaluations are of whole splits.
"""

from ml_collections import ConfigDict

BLOCK, BLOCKS, STEPS = 1024, 512, 600_000
# Of all documents: those that are tested, and as many to watch.
HELD_OUT = 0.0005
OPTIMIZER = {
    "name": "adamw",
    "learning_rate": 6e-4,
    "schedule": "cosine",
    "warmup_steps": 2000,
    "decay_steps": STEPS,
    "end_factor": 0.1,
    "b2": 0.95,
    "clip_norm": 1.0,
    "weight_decay": 0.1,
    # Every matrix, those of tokens and positions too.
    "decay_paths": ("kernel$", "embedding$"),
    # Of a whole batch, the logits alone would fill a device of a small slice.
    "accumulation_steps": 2,
}

BASELINE = {
    "kind": "published",
    "metric": "test/loss",
    "value": 2.85,
    "direction": "min",
    "tolerance": 0.02,
    "source": "karpathy/nanoGPT, README",
    "protocol": "600,000 updates of half a million tokens; the last weights on "
    "held-out documents of OpenWebText",
    "verified": True,
    "not_run_here": "needs an accelerator, 4 days of 8 A100, and texts that could not be had",
}


def get_config(arg: str = "") -> ConfigDict:
    """The values; `arg` is the folder of the texts and of tokenizer.json."""
    return ConfigDict(
        {
            "model": {
                "name": "text.gpt",
                "width": 768,
                "depth": 12,
                "heads": 12,
                "scan_layers": True,
                "remat": "full",
                "dtype": "bfloat16",
            },
            "data": {
                "pipeline": "blocks",
                "source": {
                    "name": "text_folder",
                    "path": arg or "",
                    "test_fraction": HELD_OUT,
                    "val_fraction": HELD_OUT,
                },
                "tokenizer": {
                    "name": "file",
                    "path": f"{arg or 'path/to/openwebtext'}/tokenizer.json",
                    "vocab_size": 50_257,
                },
                "block_size": BLOCK,
                "batch_size": BLOCKS,
                "eval_batch_size": BLOCKS // 2,
            },
            "task": {"name": "language_modelling"},
            "algorithm": {"name": "supervised"},
            "optimizer": OPTIMIZER,
            "evaluators": (
                {"name": "standard", "split": "val", "every": 2000},
                {"name": "standard", "split": "test"},
                {"name": "language_modelling", "split": "test", "options": {"characters": True}},
                {"name": "generation", "split": "test"},
            ),
            "train": {"steps": STEPS, "log_every": 50, "save_every": 1000},
            "baseline": BASELINE,
        }
    )
