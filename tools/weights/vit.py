"""ViT as transformers writes it (ViTModel, ViTForImageClassification): `models/vision/vit.py`.

Its images are normalised as the publisher's preprocessor_config.json says, which is copied beside;
its patches are a convolution there. Its pooler has no place here, and its two dropout rates are as
ours are.

Axis letters: `b` of one, `l` tokens, `d` width, `p` `q` pixels of a patch, `c` channels.
"""

from tools.weights.common.family import Architecture, Entry, Family, Key
from tools.weights.common.layers import attention, dense, norm

_THEIRS, _OURS = "encoder.layer.{layer}", "layer_{layer}"

BODY = (
    Entry("embeddings.cls_token", "class_token", "1 1 d -> d"),
    Entry("embeddings.position_embeddings", "positions/embedding", "1 l d -> l d"),
    Entry(
        "embeddings.patch_embeddings.projection.weight", "patch_projection/kernel",
        "d c p q -> (p q c) d",
    ),
    Entry("embeddings.patch_embeddings.projection.bias", "patch_projection/bias"),
    *norm(f"{_THEIRS}.layernorm_before", f"{_OURS}/attention_norm"),
    *attention(
        *(f"{_THEIRS}.attention.attention.{name}" for name in ("query", "key", "value")),
        f"{_THEIRS}.attention.output.dense", f"{_OURS}/attention",
    ),
    *norm(f"{_THEIRS}.layernorm_after", f"{_OURS}/mlp_norm"),
    *dense(f"{_THEIRS}.intermediate.dense", f"{_OURS}/mlp/hidden"),
    *dense(f"{_THEIRS}.output.dense", f"{_OURS}/mlp/out"),
    *norm("layernorm", "norm"),
)  # fmt: skip
"""All but the heads, and DeiT's second token."""

KEYS = (
    Key("width", "hidden_size", size=("class_token", 0)),
    Key("depth", "num_hidden_layers"),
    Key("heads", "num_attention_heads", size=("layer_00/attention/query/kernel", 1)),
    Key("mlp_width", "intermediate_size", size=("layer_00/mlp/hidden/kernel", 1)),
    Key("patch_size", "patch_size", 16),
    Key(
        "activation", "hidden_act", "gelu",
        {"gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh", "relu": "relu", "silu": "silu"},
    ),
    Key("norm_epsilon", "layer_norm_eps", 1e-12),
    Key("dropout_rate", "hidden_dropout_prob", 0.0),
    Key("attention_dropout_rate", "attention_probs_dropout_prob", 0.0),
)  # fmt: skip

FAMILY = Family(
    model="vision.vit",
    model_type="vit",
    prefix="vit.",
    architectures={
        "ViTModel": Architecture(),
        "ViTForImageClassification": Architecture(group="head"),
    },
    entries=(*BODY, *dense("classifier", "head", "head", outside=True)),
    keys=KEYS,
    fixed={"qkv_bias": (True,)},
    ours_fixed={"pool": ("token",), "positions": ("learned",), "distilled": (False,)},
    lengths={"h": "heads", "p": "patch_size", "q": "patch_size"},
    dropped=(r"^pooler\.",),
    image=True,
)
