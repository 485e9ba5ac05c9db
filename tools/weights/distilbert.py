"""DistilBERT as transformers writes it (DistilBertModel and its heads): `models/text/bert.py`.

Sanh et al. 2019, arXiv:1910.01108: no token types and no pooler; a classifier's first layer, with
ReLU, is our pooler.

Axis letters: as in tools/weights/common/layers.py.
"""

from tools.weights.common.family import Architecture, Entry, Family, Key
from tools.weights.common.layers import attention, dense, norm

_THEIRS, _OURS = "transformer.layer.{layer}", "layer_{layer}"
_NONE = {"pool": "first", "pooler": "none"}
_CLASSES = {"head": "classes", "pool": "first", "pooler": "relu"}

FAMILY = Family(
    model="text.bert",
    model_type="distilbert",
    prefix="distilbert.",
    architectures={
        "DistilBertModel": Architecture({"head": "none", **_NONE}),
        "DistilBertForMaskedLM": Architecture({"head": "mlm"}, "mlm"),
        "DistilBertForSequenceClassification": Architecture(_CLASSES, "head"),
        "DistilBertForTokenClassification": Architecture({"head": "tokens"}, "head"),
    },
    entries=(
        Entry("embeddings.word_embeddings.weight", "tokens/embedding"),
        Entry("embeddings.position_embeddings.weight", "positions/embedding"),
        *norm("embeddings.LayerNorm", "embedding_norm"),
        *attention(
            *(f"{_THEIRS}.attention.{name}_lin" for name in ("q", "k", "v", "out")),
            f"{_OURS}/attention",
        ),
        *norm(f"{_THEIRS}.sa_layer_norm", f"{_OURS}/attention_norm"),
        *dense(f"{_THEIRS}.ffn.lin1", f"{_OURS}/mlp/hidden"),
        *dense(f"{_THEIRS}.ffn.lin2", f"{_OURS}/mlp/out"),
        *norm(f"{_THEIRS}.output_layer_norm", f"{_OURS}/mlp_norm"),
        *dense("vocab_transform", "transform", "mlm", outside=True),
        *norm("vocab_layer_norm", "transform_norm", "mlm", outside=True),
        Entry("vocab_projector.bias", "bias", group="mlm", outside=True),
        *dense("pre_classifier", "pooler", "pooler", outside=True),
        *dense("classifier", "head", "head", outside=True),
    ),
    keys=(
        Key("width", "dim", size=("tokens/embedding", 1)),
        Key("depth", "n_layers"),
        Key("heads", "n_heads", size=("layer_00/attention/query/kernel", 1)),
        Key("mlp_width", "hidden_dim", size=("layer_00/mlp/hidden/kernel", 1)),
        Key("max_length", "max_position_embeddings", size=("positions/embedding", 0)),
        Key("dropout_rate", "dropout", 0.1),
        Key("attention_dropout_rate", "attention_dropout", 0.1),
    ),
    fixed={
        "activation": ("gelu",),
        "sinusoidal_pos_embds": (False, True),
        "tie_word_embeddings": (True,),
    },
    ours_fixed={"token_types": (0,)},
    sizes={"vocab_size": ("tokens/embedding", 0)},
    lengths={"h": "heads"},
    buffers=(r"^embeddings\.position_ids$",),
    tied={"vocab_projector.weight": "embeddings.word_embeddings.weight"},
)  # fmt: skip
