"""Small random models as their own library computes them: python tests/golden/make.py [FOLDER].

Needs transformers 5.23 and torch 2.13 (CPU, Python 3.11), which are no dependency of this project:

    python3.11 -m venv DIR && DIR/bin/pip install transformers==5.23.0 torch==2.13.0
    DIR/bin/python tests/golden/make.py

Each case is a folder as the library saves a model, with cases.safetensors beside: inputs and
outputs "0/tokens", "0/logits", ... of several shapes. The weights are drawn wide, biases and norms
too, so that no exchanged array could pass.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

HERE = Path(__file__).parent
BERT = {
    "vocab_size": 37, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3,
    "intermediate_size": 20, "max_position_embeddings": 11,
}  # fmt: skip
DISTIL = {
    "vocab_size": 31, "dim": 12, "n_layers": 2, "n_heads": 2, "hidden_dim": 18,
    "max_position_embeddings": 9,
}  # fmt: skip
GPT2 = {"vocab_size": 41, "n_embd": 12, "n_layer": 2, "n_head": 3, "n_positions": 10}
IMAGE = {
    "image_size": 12, "patch_size": 4, "hidden_size": 12, "num_hidden_layers": 2,
    "num_attention_heads": 3, "intermediate_size": 20, "num_labels": 4,
}  # fmt: skip
SMALL_IMAGE = {
    "image_size": 6, "patch_size": 3, "num_channels": 1, "hidden_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 12, "hidden_act": "gelu_pytorch_tanh",
}  # fmt: skip
# name: (class, config, what is kept of the output by our names).
CASES: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "gpt2_tied": ("GPT2LMHeadModel", GPT2, {"logits": "logits"}),
    "gpt2_untied": (
        "GPT2LMHeadModel",
        {**GPT2, "n_embd": 8, "n_head": 2, "n_inner": 20, "tie_word_embeddings": False},
        {"logits": "logits"},
    ),
    "bert_body": (
        "BertModel", BERT, {"hidden": "last_hidden_state", "pooled": "pooler_output"},
    ),
    "bert_masked": ("BertForMaskedLM", {**BERT, "hidden_size": 8, "num_attention_heads": 2},
                    {"logits": "logits"}),
    "bert_pretraining": ("BertForPreTraining", BERT, {"logits": "prediction_logits"}),
    "bert_classes": (
        "BertForSequenceClassification", {**BERT, "num_labels": 3}, {"logits": "logits"},
    ),
    "bert_tokens": (
        "BertForTokenClassification", {**BERT, "num_labels": 5}, {"logits": "logits"},
    ),
    "distilbert_body": ("DistilBertModel", DISTIL, {"hidden": "last_hidden_state"}),
    "distilbert_masked": ("DistilBertForMaskedLM", DISTIL, {"logits": "logits"}),
    "distilbert_classes": (
        "DistilBertForSequenceClassification", {**DISTIL, "num_labels": 3}, {"logits": "logits"},
    ),
    "distilbert_tokens": (
        "DistilBertForTokenClassification", {**DISTIL, "n_heads": 3, "num_labels": 4},
        {"logits": "logits"},
    ),
    "vit_classes": ("ViTForImageClassification", IMAGE, {"logits": "logits"}),
    "vit_small": ("ViTForImageClassification", SMALL_IMAGE, {"logits": "logits"}),
    "deit_classes": ("DeiTForImageClassificationWithTeacher", IMAGE, {"logits": "logits"}),
    "deit_small": ("DeiTForImageClassificationWithTeacher", SMALL_IMAGE, {"logits": "logits"}),
}  # fmt: skip


def model(name: str, seed: int) -> Any:
    """The case's model, every parameter drawn anew."""
    torch.manual_seed(seed)
    kind, options, _ = CASES[name]
    made = getattr(transformers, kind)
    made = made(made.config_class(**options)).eval()
    with torch.no_grad():
        for key, parameter in made.named_parameters():
            scale = 1.0 if key.lower().endswith("norm.weight") or ".ln_" in key else 0.0
            parameter.copy_(scale + 0.3 * torch.randn(parameter.shape))
    return made


def inputs(name: str, config: Any, seed: int) -> list[dict[str, np.ndarray]]:
    """Inputs of several shapes, under our names."""
    rng = np.random.default_rng(seed)
    if hasattr(config, "image_size"):
        size, channels = config.image_size, config.num_channels
        return [
            {"image": rng.normal(size=(count, size, size, channels)).astype("f4")}
            for count in (1, 3)
        ]
    longest = getattr(config, "max_position_embeddings", 0) or config.n_positions
    found = []
    for count, length in ((1, 1), (3, 6), (2, longest)):
        tokens = rng.integers(0, config.vocab_size, (count, length)).astype("i4")
        batch = {"tokens": tokens}
        if not name.startswith("gpt2"):
            batch["lengths"] = rng.integers(1, length + 1, count).astype("i4")
        if name.startswith("bert"):
            batch["token_types"] = rng.integers(0, 2, (count, length)).astype("i4")
        found.append(batch)
    return found


def outputs(name: str, made: Any, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the library computes of one of `inputs`."""
    given: dict[str, Any] = {}
    if "image" in batch:
        given["pixel_values"] = torch.tensor(batch["image"].transpose(0, 3, 1, 2))
    else:
        given["input_ids"] = torch.tensor(batch["tokens"], dtype=torch.long)
    if "lengths" in batch:
        length = batch["tokens"].shape[1]
        given["attention_mask"] = torch.tensor(np.arange(length) < batch["lengths"][:, None]).long()
    if "token_types" in batch:
        given["token_type_ids"] = torch.tensor(batch["token_types"], dtype=torch.long)
    with torch.no_grad():
        found = made(**given)
    return {ours: found[theirs].numpy() for ours, theirs in CASES[name][2].items()}


def make(folder: Path, seed: int = 0, tell: Callable[[str], None] = print) -> None:
    """Writes every case."""
    for number, name in enumerate(CASES):
        made = model(name, seed + number)
        made.save_pretrained(folder / name)
        (folder / name / "generation_config.json").unlink(missing_ok=True)
        kept = {}
        for index, batch in enumerate(inputs(name, made.config, seed + number)):
            both = {**batch, **outputs(name, made, batch)}
            kept |= {f"{index}/{key}": np.ascontiguousarray(a) for key, a in both.items()}
        save_file(kept, folder / name / "cases.safetensors")
        tell(name)


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
