"""BERT and MiniLM as transformers writes them (BertModel and its heads): `models/text/bert.py`.

The decoder of masked tokens is the embedding, and stands a second time in some files.

Axis letters: as in tools/weights/common/layers.py.
"""

from tools.weights.common.family import Architecture, Entry, Family, Key
from tools.weights.common.layers import attention, dense, norm

_THEIRS, _OURS = "encoder.layer.{layer}", "layer_{layer}"
_MLM = "cls.predictions"
_CLASSES = {"head": "classes", "pool": "first", "pooler": "tanh"}

FAMILY = Family(
    model="text.bert",
    model_type="bert",
    prefix="bert.",
    architectures={
        "BertModel": Architecture({"head": "none", "pool": "first", "pooler": "tanh"}),
        "BertForMaskedLM": Architecture({"head": "mlm"}, "mlm"),
        "BertForSequenceClassification": Architecture(_CLASSES, "head"),
        "BertForTokenClassification": Architecture({"head": "tokens"}, "head"),
    },
    aliases={"BertForPreTraining": "BertForMaskedLM"},
    entries=(
        Entry("embeddings.word_embeddings.weight", "tokens/embedding"),
        Entry("embeddings.position_embeddings.weight", "positions/embedding"),
        Entry("embeddings.token_type_embeddings.weight", "types/embedding"),
        *norm("embeddings.LayerNorm", "embedding_norm"),
        *attention(
            *(f"{_THEIRS}.attention.self.{name}" for name in ("query", "key", "value")),
            f"{_THEIRS}.attention.output.dense", f"{_OURS}/attention",
        ),
        *norm(f"{_THEIRS}.attention.output.LayerNorm", f"{_OURS}/attention_norm"),
        *dense(f"{_THEIRS}.intermediate.dense", f"{_OURS}/mlp/hidden"),
        *dense(f"{_THEIRS}.output.dense", f"{_OURS}/mlp/out"),
        *norm(f"{_THEIRS}.output.LayerNorm", f"{_OURS}/mlp_norm"),
        *dense("pooler.dense", "pooler", "pooler"),
        *dense(f"{_MLM}.transform.dense", "transform", "mlm", outside=True),
        *norm(f"{_MLM}.transform.LayerNorm", "transform_norm", "mlm", outside=True),
        Entry(f"{_MLM}.bias", "bias", group="mlm", outside=True),
        *dense("classifier", "head", "head", outside=True),
    ),
    keys=(
        Key("width", "hidden_size", size=("tokens/embedding", 1)),
        Key("depth", "num_hidden_layers"),
        Key("heads", "num_attention_heads", size=("layer_00/attention/query/kernel", 1)),
        Key("mlp_width", "intermediate_size", size=("layer_00/mlp/hidden/kernel", 1)),
        Key("max_length", "max_position_embeddings", size=("positions/embedding", 0)),
        Key("token_types", "type_vocab_size", 2),
        Key("dropout_rate", "hidden_dropout_prob", 0.1),
        Key("attention_dropout_rate", "attention_probs_dropout_prob", 0.1),
    ),
    fixed={
        "hidden_act": ("gelu",),
        "layer_norm_eps": (1e-12,),
        "position_embedding_type": ("absolute",),
        "is_decoder": (False,),
        "add_cross_attention": (False,),
        "tie_word_embeddings": (True,),
    },
    sizes={"vocab_size": ("tokens/embedding", 0)},
    lengths={"h": "heads"},
    renames=((r"LayerNorm\.gamma$", "LayerNorm.weight"), (r"LayerNorm\.beta$", "LayerNorm.bias")),
    buffers=(r"^embeddings\.position_ids$",),
    dropped=(r"^cls\.seq_relationship\.",),
    tied={
        f"{_MLM}.decoder.weight": "embeddings.word_embeddings.weight",
        f"{_MLM}.decoder.bias": f"{_MLM}.bias",
    },
    body={"head": "none", "pooler": "tanh"},
)  # fmt: skip
