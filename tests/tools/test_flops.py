"""tools.flops: operations of a jaxpr against the closed form; loops, remat and kernels."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from models.layers import attention_tpu
from models.layers.stack import apply_layers
from models.layers.transformer import Block
from models.vision import vit
from tools import flops

BATCH, WIDTH, DEPTH, HEADS, MLP = 2, 16, 3, 2, 48
SIZES = {"batch": BATCH, "width": WIDTH, "depth": DEPTH, "mlp_width": MLP}


class Info:
    num_classes = 10


def image_loss(**options):
    """(loss of parameters and images, both as shapes) of a ViT with 16 patches of 4 x 4 x 3."""
    config = vit.Config(
        width=WIDTH, depth=DEPTH, heads=HEADS, mlp_width=MLP, patch_size=4, pool="gap", **options
    )
    model = vit.build(config, Info())
    images = jax.ShapeDtypeStruct((BATCH, 16, 16, 3), jnp.float32)
    params = jax.eval_shape(lambda k, x: model.init(k, x, train=False), jax.random.key(0), images)
    return lambda p, x: model.apply(p, x, train=True).sum(), params, images


PATCHES = flops.transformer(**SIZES, length=16, inputs=48, outputs=10, pooled=True)


class GPT(nn.Module):
    """A decoder-only Transformer over 50 tokens."""

    remat: str = "none"
    scan: bool = True

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(50, WIDTH)(tokens)
        x = apply_layers(
            lambda name: Block(HEADS, MLP, causal=True, name=name),
            lambda block, x: block(x, train=True),
            x, depth=DEPTH, scan=self.scan, remat=self.remat,
        )  # fmt: skip
        return nn.Dense(50, use_bias=False)(x)


def text_loss(**options):
    model, tokens = GPT(**options), jax.ShapeDtypeStruct((BATCH, 24), jnp.int32)
    params = jax.eval_shape(model.init, jax.random.key(0), tokens)
    return lambda p, x: model.apply(p, x).sum(), params, tokens


TEXT = flops.transformer(**SIZES, length=24, outputs=50)


@pytest.mark.parametrize("scan", [False, True])
def test_forward_passes_are_the_closed_form(scan):
    loss, *shapes = image_loss(scan_layers=scan)
    assert flops.count(jax.make_jaxpr(loss)(*shapes)).total == PATCHES
    loss, *shapes = text_loss(scan=scan)
    assert flops.count(jax.make_jaxpr(loss)(*shapes)).total == TEXT


@pytest.mark.parametrize("remat", ["none", "full"])
def test_training_is_three_forward_passes_whatever_is_computed_twice(remat):
    """But for the gradient by the images, which nobody asks for; a table of embeddings is free."""
    loss, *shapes = image_loss(scan_layers=True, remat=remat)
    found = flops.count(jax.make_jaxpr(jax.grad(loss))(*shapes))
    assert found.model == 3 * PATCHES - 2 * BATCH * 16 * 48 * WIDTH
    loss, *shapes = text_loss(remat=remat)
    text = flops.count(jax.make_jaxpr(jax.grad(loss))(*shapes))
    assert text.model == 3 * TEXT
    if remat == "none":
        assert found.recomputed == text.recomputed == 0
        assert found.total == found.model
        return
    # A layer's last product is a sum's term: nothing of the backward pass needs its value again.
    layers = flops.transformer(**SIZES, length=24)
    last = DEPTH * 2 * BATCH * 24 * WIDTH * MLP
    assert text.recomputed == layers - last
    assert text.total == text.model + text.recomputed


def test_a_gated_mlp_and_fewer_keys_are_in_the_closed_form():
    """Llama 3.1 8B, 3 sequences of 8192 in 3.416 s: MaxText reports 416.6 TFLOP/s for it."""
    forward = flops.transformer(
        batch=3, length=8192, width=4096, depth=32, mlp_width=14336, gated=True,
        attention_width=4096, key_value_width=1024, outputs=128_256,
    )  # fmt: skip
    assert 3 * forward / 3.416e12 == pytest.approx(416.6, abs=0.1)


def test_convolutions_and_their_gradients():
    def loss(kernel, image):
        out = jax.lax.conv_general_dilated(
            image, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return out.sum()

    shapes = jax.ShapeDtypeStruct((3, 3, 8, 16), "f4"), jax.ShapeDtypeStruct((2, 10, 10, 8), "f4")
    forward = 2.0 * (2 * 5 * 5 * 16) * (3 * 3 * 8)
    assert flops.count(jax.make_jaxpr(loss)(*shapes)).total == forward
    both = flops.count(jax.make_jaxpr(jax.grad(loss, (0, 1)))(*shapes))
    assert both.total == 3 * forward, "the zeros of a strided layer's gradient are free"


def test_loops_and_branches():
    square = jax.ShapeDtypeStruct((8, 8), jnp.float32)
    once = 2 * 8**3

    def scanned(x):
        return jax.lax.scan(lambda c, _: (c @ c, None), x, length=5)[0]

    def branched(x):
        return jax.lax.cond(x[0, 0] > 0, lambda x: x @ x @ x, lambda x: x @ x, x)

    def open_ended(x):
        return jax.lax.while_loop(lambda x: x[0, 0] > 0, lambda x: x @ x, x)

    assert flops.count(jax.make_jaxpr(scanned)(square)).total == 5 * once
    assert flops.count(jax.make_jaxpr(branched)(square)).total == 2 * once
    found = flops.count(jax.make_jaxpr(open_ended)(square))
    assert (found.total, found.open_loops) == (once, 1)


def test_a_kernel_counts_its_grid_with_its_padding():
    """Two products forward and five backward, of 130 queries padded to 256."""
    shape = jax.ShapeDtypeStruct((2, 130, 2, 128), jnp.float32)

    def loss(q):
        return attention_tpu.attend(q, q, q, interpret=True).sum()

    found = flops.count(jax.make_jaxpr(jax.grad(loss))(shape), tile=128)
    assert found.kernels == 7 * 2 * (2 * 2 * 256 * 256 * 128)
    outside = 2 * 2 * 2 * 256 * 128  # the sum over each output times its gradient
    assert found.total == found.kernels + outside
    assert found.padded == found.total, "heads of 128 fill the unit"


@pytest.mark.parametrize(
    ("product", "tile", "expected"),
    [
        ((1, 8, 128, 128), 128, 8 * 128 * 128),
        ((1, 1000, 384, 768), 256, 1024 * 384 * 768),
        # Scores of one head of 64: both sides are tokens, and the contraction is half a tile.
        ((4, 256, 256, 64), 128, 4 * 256 * 256 * 128),
        ((64, 1, 1, 128), 128, 64 * 128),
        ((1, 3, 5, 7), 1, 3 * 5 * 7),
    ],
)
def test_padding_is_that_of_the_matrix_unit(product, tile, expected):
    assert flops.padded(product, tile) == expected
