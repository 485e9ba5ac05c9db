"""Configs of text that no test here can train: their sizes are those of the papers."""

import jax
import pytest

from tools import parts, resolve

# BERT-base's body with 30,522 pieces, and what its cased vocabulary of 28,996 lacks.
BERT, LEFT_OUT = 109_482_240, (30_522 - 28_996) * 768


@pytest.mark.parametrize(
    ("config", "arg", "expected"),
    [
        ("gpt2_openwebtext", "", 124_439_808),
        ("bert_base_sst2", "", BERT - LEFT_OUT + 2 * 769),
        # 213 and 65 million in table 3, with "about 37000" pieces.
        ("transformer_big_wmt14", "", 214_245_376),
        ("transformer_big_wmt14", ":base", 63_082_496),
    ],
)
def test_large_configs_have_the_published_sizes(config: str, arg: str, expected: int) -> None:
    values = resolve.resolve(resolve.load_file(f"configs/text/{config}.py{arg}"))
    model = values["model"]
    assert model["scan_layers"] and model["remat"] != "none" and model["dtype"] == "bfloat16"
    built = parts.build(values, fake=True)
    state = jax.eval_shape(built.algorithm.init, jax.random.key(0), built.train.specs[0])
    assert sum(leaf.size for leaf in jax.tree.leaves(state.params)) == expected


def test_gpt2_reads_half_a_million_tokens_an_update() -> None:
    data = resolve.resolve(resolve.load_file("configs/text/gpt2_openwebtext.py"))["data"]
    assert data["batch_size"] * data["block_size"] == 2**19
