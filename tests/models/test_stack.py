"""A scan over layers is the loop, and rematerialisation the plain computation, with less kept."""

import dataclasses
from functools import cache

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.layers.stack import POLICIES, apply_layers, stack_layers, unstack_layers
from models.vision import vit
from tests.models import run
from training.contracts import Info

CONFIG = vit.Config(width=12, depth=2, heads=2, mlp_width=20, patch_size=4)
IMAGE = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 3)), jnp.float32)


def model(**changes) -> vit.ViT:
    return vit.build(dataclasses.replace(CONFIG, **changes), Info({}, 5))


@cache
def parameters(scan: bool):
    return run.params(model(scan_layers=scan), IMAGE)


@cache
def traced(module: vit.ViT):
    """The gradient of a sum of squares with respect to the module's parameters."""

    def loss(params):
        rngs = {"dropout": jax.random.key(0)}
        return (module.apply({"params": params}, IMAGE, train=True, rngs=rngs) ** 2).sum()

    return run.jit(jax.grad(loss)).trace(parameters(module.config.scan_layers))


@cache
def compiled(module: vit.ViT):
    return traced(module).lower().compile()


def gradient(module: vit.ViT, params):
    return compiled(module)(params)


def close(a, b) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4), a, b)


def jaxpr(module: vit.ViT) -> str:
    return str(traced(module).jaxpr)


def test_scan_equals_loop_with_its_parameters_stacked() -> None:
    loop, scan = model(), model(scan_layers=True)
    params = parameters(False)
    stacked = stack_layers(params)
    assert jax.tree.map(jnp.shape, stacked) == jax.tree.map(
        jnp.shape,
        jax.eval_shape(lambda: scan.init(jax.random.key(0), IMAGE, train=False))["params"],
    )
    close(
        run.apply(loop, {"params": params}, IMAGE, train=False),
        run.apply(scan, {"params": stacked}, IMAGE, train=False),
    )
    close(stack_layers(gradient(loop, params)), gradient(scan, stacked))
    assert "scan[" in jaxpr(scan) and "scan[" not in jaxpr(loop)


def test_stacking_and_unstacking_are_inverse_at_any_depth() -> None:
    tree = {"encoder": parameters(False), "other": {"kernel": jnp.ones(2)}}
    back = unstack_layers(stack_layers(tree))
    assert jax.tree.structure(back) == jax.tree.structure(tree)
    jax.tree.map(np.testing.assert_array_equal, back, tree)


class Random(nn.Module):
    """Draws one parameter and one number of the dropout stream."""

    @nn.compact
    def __call__(self, x):
        self.sow("intermediates", "drawn", jax.random.uniform(self.make_rng("dropout")))
        return x + self.param("start", nn.initializers.normal(), ())


class Column(nn.Module):
    scan: bool

    @nn.compact
    def __call__(self, x, train):
        call = lambda layer, x: layer(x)  # noqa: E731
        return apply_layers(lambda name: Random(name=name), call, x, depth=3, scan=self.scan)


@pytest.mark.parametrize("scan", [False, True])
def test_layers_start_and_drop_independently(scan: bool) -> None:
    """One key for all layers would give them equal parameters, and equal dropout."""
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    _, variables = Column(scan).init_with_output(keys, jnp.zeros(()), train=True, mutable=True)
    for collection in ("params", "intermediates"):
        values = np.concatenate([np.ravel(a) for a in jax.tree.leaves(variables[collection])])
        assert len(set(values.tolist())) == 3, collection


def test_attention_is_sown_alike_by_scan_and_loop() -> None:
    loop, scan = model(), model(scan_layers=True)
    params = parameters(False)
    _, looped = run.apply(loop, {"params": params}, IMAGE, train=False, mutable=["intermediates"])
    _, scanned = run.apply(
        scan, {"params": stack_layers(params)}, IMAGE, train=False, mutable=["intermediates"]
    )
    layers = [
        looped["intermediates"][f"layer_{i:02d}"]["attention"]["attention"][0] for i in range(2)
    ]
    close(jnp.stack(layers), scanned["intermediates"]["layers"]["attention"]["attention"][0])


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
def test_remat_equals_plain_and_recomputes(policy: str, scan: bool) -> None:
    """Same gradients; and the program with it computes dot products again in its backward pass."""
    plain, remat = model(scan_layers=scan), model(scan_layers=scan, remat=policy)
    params = parameters(scan)
    close(gradient(plain, params), gradient(remat, params))
    before, after = jaxpr(plain), jaxpr(remat)
    assert "remat2[" not in before.replace("checkpoint[", "remat2[")
    assert "remat2[" in after.replace("checkpoint[", "remat2[")
    assert after.count("dot_general[") > before.count("dot_general[")


def test_remat_policies_differ_in_what_they_recompute() -> None:
    dots = {p: jaxpr(model(remat=p)).count("dot_general[") for p in POLICIES}
    assert dots["full"] > dots["dots"]


def test_remat_repeats_dropout_in_the_backward_pass() -> None:
    """Another mask when the layer is computed again would give another gradient."""
    rates = {"dropout_rate": 0.3, "stochastic_depth_rate": 0.5, "attention_dropout_rate": 0.3}
    params = parameters(False)
    close(gradient(model(**rates), params), gradient(model(**rates, remat="full"), params))


def test_unknown_policy_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="remat 'some': expected one of none, full, dots"):
        model(remat="some").init(jax.random.key(0), IMAGE, train=False)
