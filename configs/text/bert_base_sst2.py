"""BERT-base, cased, fine-tuned on GLUE's SST-2 (Devlin et al. 2018, arXiv:1810.04805).

    python -m tools.import_weights --from=path/to/bert-base-cased --out=weights/bert_base --scan
    python train.py --config=configs/text/bert_base_sst2.py:weights/bert_base
    python train.py --config=configs/text/bert_base_sst2.py
    make compile CONFIG=configs/text/bert_base_sst2.py

Expected: 92.23 +- 0.57 % on the 872 sentences of dev, 5 seeds, from the published weights (the
first two commands; transformers' table of its Flax examples on GLUE); the third begins at random.
NOT RUN HERE: neither weights (huggingface.co/google-bert/bert-base-cased: config.json,
model.safetensors and vocab.txt) nor phrases could be had. Tested are its smoke run and its
108,311,810 parameters (BERT-base's 109,482,240 with the cased vocabulary, and the head); compiled
for v5e:4x4 (the last command) it takes 1.7 of 16 GiB a device, and a predicted 10 ms an update.

3 epochs of the 67,349 phrases, batch 32, AdamW at 2e-5 falling to 0, length 128. GLUE's test labels
are not published: dev is tested once, at the end, and nothing is selected on it. Differs: bfloat16.
"""

from ml_collections import ConfigDict

from configs.common.epochs import steps

EXAMPLES, BATCH = 67_349, 32


def get_config(arg: str = "scratch") -> ConfigDict:
    """The values; `arg` is the folder of imported weights, or scratch, which reads the vocabulary
    of weights/bert_base.
    """
    scratch = arg == "scratch"
    folder = "weights/bert_base" if scratch else arg
    return ConfigDict(
        {
            "model": {
                "name": "text.bert",
                "head": "classes",
                "scan_layers": True,
                # With "dots", two rows a device overflow the stack of the TPU compiler.
                "remat": "full",
                "dtype": "bfloat16",
            },
            "data": {
                "pipeline": "texts",
                "source": {"name": "glue", "task": "sst2"},
                "splits": {"train": "train", "test": "validation"},
                "tokenizer": {
                    "name": "file",
                    "path": f"{folder}/vocab.txt",
                    "vocab_size": 28_996,
                },
                "batch_size": BATCH,
                "max_length": 128,
                "bucket_lengths": (32, 64),
                "too_long": "truncate",
            },
            "task": {"name": "sequence_classification"},
            "algorithm": {"name": "supervised"},
            "optimizer": {"name": "adamw", "learning_rate": 2e-5, "schedule": "linear"},
            "evaluators": (
                {"name": "standard", "split": "test"},
                {"name": "classification", "split": "test"},
                {"name": "text_attention", "split": "test"},
            ),
            "train": {
                "steps": steps(3, EXAMPLES, BATCH),
                "log_every": 50,
                "save_every": 1000,
                "init_from": "" if scratch else arg,
            },
            "baseline": {
                "kind": "published",
                "metric": "test/accuracy",
                "value": 0.9223,
                "spread": {"kind": "seeds", "value": 0.0057, "n": 5},
                "source": "huggingface/transformers, examples/flax/text-classification",
                "protocol": "GLUE's dev set, published weights (cased), 3 epochs, the last weights",
                "verified": True,
                "not_run_here": "neither its published weights nor GLUE's phrases could be had",
            },
        }
    )
