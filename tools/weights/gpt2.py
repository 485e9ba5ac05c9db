"""GPT-2 as transformers writes it (GPT2Model, GPT2LMHeadModel): `models/text/gpt.py`.

Its dense layers are [in, out] as ours are; one tensor holds queries, keys and values side by side.
Dropout of the embedding is the residual branches' here.

Axis letters: `d` width, `h` heads, `k` head width, `n` queries, keys and values, `v` vocabulary.
"""

from tools.weights.common.family import Architecture, Entry, Family, Key

_LAYER = "h.{layer}.", "layer_{layer}/"


def _layer(theirs: str, ours: str | tuple[str, ...], pattern: str = "") -> Entry:
    paths = (ours,) if isinstance(ours, str) else ours
    return Entry(_LAYER[0] + theirs, tuple(_LAYER[1] + path for path in paths), pattern)


def _parts(name: str) -> tuple[str, ...]:
    return tuple(f"attention/{part}/{name}" for part in ("query", "key", "value"))


FAMILY = Family(
    model="text.gpt",
    model_type="gpt2",
    prefix="transformer.",
    architectures={"GPT2Model": Architecture(), "GPT2LMHeadModel": Architecture()},
    entries=(
        Entry("wte.weight", "tokens/embedding"),
        Entry("wpe.weight", "positions/embedding"),
        _layer("ln_1.weight", "attention_norm/scale"),
        _layer("ln_1.bias", "attention_norm/bias"),
        _layer("attn.c_attn.weight", _parts("kernel"), "d (n h k) -> n d h k"),
        _layer("attn.c_attn.bias", _parts("bias"), "(n h k) -> n h k"),
        _layer("attn.c_proj.weight", "attention/out/kernel", "(h k) d -> h k d"),
        _layer("attn.c_proj.bias", "attention/out/bias"),
        _layer("ln_2.weight", "mlp_norm/scale"),
        _layer("ln_2.bias", "mlp_norm/bias"),
        _layer("mlp.c_fc.weight", "mlp/hidden/kernel"),
        _layer("mlp.c_fc.bias", "mlp/hidden/bias"),
        _layer("mlp.c_proj.weight", "mlp/out/kernel"),
        _layer("mlp.c_proj.bias", "mlp/out/bias"),
        Entry("ln_f.weight", "norm/scale"),
        Entry("ln_f.bias", "norm/bias"),
        Entry("lm_head.weight", "head/kernel", "v d -> d v", group="head", outside=True),
    ),
    keys=(
        Key("width", "n_embd", size=("tokens/embedding", 1)),
        Key("depth", "n_layer"),
        Key("heads", "n_head", size=("layer_00/attention/query/kernel", 1)),
        Key("mlp_width", "n_inner", None, size=("layer_00/mlp/hidden/kernel", 1)),
        Key("max_length", "n_positions", size=("positions/embedding", 0)),
        Key("tied", "tie_word_embeddings", True),
        Key("dropout_rate", "resid_pdrop", 0.1),
        Key("attention_dropout_rate", "attn_pdrop", 0.1),
    ),
    fixed={
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
        "layer_norm_epsilon": (1e-5,),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
    },
    ours_fixed={
        "positions": ("learned",),
        "kv_heads": (None,),
        "pattern": ("full",),
        "use_bias": (True,),
    },
    sizes={"vocab_size": ("tokens/embedding", 0)},
    lengths={"h": "heads", "n": 3},
    buffers=(r"\.attn\.(masked_)?bias$",),
    tied={"lm_head.weight": "wte.weight"},
)
