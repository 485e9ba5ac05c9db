"""Recurrent translation with attention on Multi30k, German to English
(Bahdanau et al. 2014, arXiv:1409.0473).

    python train.py --config=configs/text/gru_bahdanau_multi30k.py
    python train.py --config=configs/text/gru_bahdanau_multi30k.py:reduced

Expected: BLEU 28.3 on test2016 (bentrevett/pytorch-seq2seq, notebook 3): a GRU that reads both
ways, width 512, embeddings of 256, dropout .5, batch 128, Adam, clipped at 1, 10 epochs, half of
the target's words read in training, the others guessed; greedy decoding. On two cores that takes
hours: the second command is a quarter of the width for 8 epochs, all words of the target read in
training and less dropout, a smaller protocol with a number of its own: BLEU 33.9, one seed.
"""

from ml_collections import ConfigDict

from configs.common import multi30k
from configs.common.epochs import steps


def get_config(arg: str = "full") -> ConfigDict:
    """The values; `arg` is full or reduced."""
    if arg not in ("full", "reduced"):
        raise ValueError(f"{arg!r}: full or reduced")
    full = arg == "full"
    epoch = steps(1, multi30k.EXAMPLES, multi30k.BATCH)
    own = {
        "kind": "own",
        "metric": "test/bleu",
        "protocol": "as the paper's, but smaller",
        "reduced": "width 128 of 512, embeddings of 128 of 256, 8 of 10 epochs, dropout .2, "
        "no guessed words, batches of like lengths",
    }
    full_baseline = {
        **multi30k.baseline(28.3, "notebook 3"),
        "not_run_here": "needs an accelerator: hours on 2 cores",
        "beside": ("reduced",),
    }
    return ConfigDict(
        {
            "model": {
                "name": "text.rnn_seq2seq",
                "cell": "gru",
                "attention": "bahdanau",
                "width": 512 if full else 128,
                "embedding_width": 256 if full else 128,
                "init_std": 0.01 if full else None,
                "dropout_rate": 0.5 if full else 0.2,
            },
            # Fewer programs to compile, where compiling is a good part of the whole.
            "data": multi30k.data() if full else multi30k.data((16, 24, 32), mixed=False),
            "task": {
                "name": "sequence_to_sequence",
                "max_length": 50,
                "teacher_forcing": 0.5 if full else 1.0,
            },
            "algorithm": {"name": "supervised"},
            "optimizer": {"name": "adam", "learning_rate": 1e-3, "clip_norm": 1.0},
            "evaluators": multi30k.evaluators(epoch),
            "train": multi30k.train((10 if full else 8) * epoch, epoch),
            "baseline": full_baseline if full else own,
        }
    )
