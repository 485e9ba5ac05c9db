"""Where arrays lie, from shapes alone: defaults, tensor rules, the config's rules, what follows."""

import functools

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from tools import inspect, parts, resolve
from training import mesh, placement
from training.compiled import Compiled
from training.config import Mesh
from training.contracts import ConfigError

DIGITS, VIT_S = "configs/vision/vit_digits.py", "configs/vision/vit_s16_imagenet.py"
WIDE = ("model.width=256", "model.heads=4", "model.mlp_width=512", "model.depth=2")
HEAD = "params/head/kernel"
LAYER = "params/layer_00"
SCANNED = "params/layers"


@functools.cache
def built(*changes: str, config: str = DIGITS) -> parts.Parts:
    return parts.build(resolve.resolve(resolve.load_file(config), changes), fake=True)


def compiled(*changes: str, sizes: Mesh, devices: int = 8, config: str = DIGITS) -> Compiled:
    """Of the digits' ViT, 256 wide, on a mesh of devices that are not there."""
    found = built(*changes, config=config)
    grid = mesh.abstract(sizes, devices)
    return Compiled(found.algorithm, found.train, grid, found.settings.train, sizes.rules)


def rows(*changes: str, sizes: Mesh, devices: int = 8, config: str = DIGITS) -> dict[str, dict]:
    found = compiled(*changes, sizes=sizes, devices=devices, config=config)
    return {row["path"]: row for row in inspect.state_arrays(found)}


def specs(*changes: str, sizes: Mesh) -> dict[str, list]:
    return {name: row["spec"] for name, row in rows(*WIDE, *changes, sizes=sizes).items()}


def test_vit_s_over_eight_holds_less_than_a_seventh():
    """The figure that a pod is paid by: what tools.inspect prints for ViT-S/16."""
    one, eight = (
        inspect.totals(list(rows(sizes=sizes, devices=n, config=VIT_S).values()))
        for sizes, n in ((Mesh(), 1), (Mesh(data=1, fsdp=8), 8))
    )
    for part in ("params", "opt_state"):
        assert eight[part] <= one[part] / 7
        assert eight[part] >= one[part] / 8


def test_fsdp_splits_the_largest_dimension_that_divides():
    found = specs(sizes=Mesh(data=2, fsdp=4))
    assert found[f"{LAYER}/mlp/hidden/kernel"] == [None, "fsdp"]
    assert found[f"{LAYER}/mlp/out/kernel"] == ["fsdp"]
    assert found[f"{LAYER}/mlp/hidden/bias"] == []
    # 10 classes: the head's other dimension is too small an array to be split.
    assert found[HEAD] == []
    assert found["batch/image"] == [["data", "fsdp"]]


def test_one_device_and_pure_data_parallelism_keep_everything_whole():
    for sizes in (Mesh(data=8), Mesh(data=4, sequence=2)):
        found = specs(sizes=sizes)
        assert not any(spec for name, spec in found.items() if not name.startswith("batch/"))


def test_tensor_rules_split_heads_and_hidden_units_and_fsdp_the_rest():
    found = specs(sizes=Mesh(data=2, fsdp=2, tensor=2))
    for name in ("query", "key", "value"):
        assert found[f"{LAYER}/attention/{name}/kernel"] == ["fsdp", "tensor"]
        assert found[f"{LAYER}/attention/{name}/bias"] == ["tensor"]
    assert found[f"{LAYER}/attention/out/kernel"] == ["tensor", None, "fsdp"]
    assert found[f"{LAYER}/attention/out/bias"] == []
    assert found[f"{LAYER}/mlp/hidden/kernel"] == ["fsdp", "tensor"]
    assert found[f"{LAYER}/mlp/hidden/bias"] == ["tensor"]
    assert found[f"{LAYER}/mlp/out/kernel"] == ["tensor", "fsdp"]
    assert found[f"{LAYER}/mlp/out/bias"] == []
    assert found[HEAD] == [None, "tensor"] and found["params/head/bias"] == ["tensor"]


def test_heads_that_do_not_divide_stay_whole_and_the_mlp_is_split():
    found = specs("model.heads=4", sizes=Mesh(data=1, tensor=8))
    assert found[f"{LAYER}/attention/query/kernel"] == []
    assert found[f"{LAYER}/mlp/hidden/kernel"] == [None, "tensor"]


def test_token_embeddings_are_split_and_positions_are_not():
    shapes = {
        "params": {
            name: {"embedding": jax.ShapeDtypeStruct((64, 8), np.float32)}
            for name in ("tokens", "positions")
        }
    }
    found = placement.place(shapes, mesh.abstract(Mesh(tensor=2), 8))["params"]
    assert found["tokens"]["embedding"].spec == P("tensor")
    assert found["positions"]["embedding"].spec == P()


@pytest.mark.parametrize("members", [1, 8])
@pytest.mark.parametrize("scan", [False, True])
def test_leading_axes_are_never_split(scan, members):
    """Depth 8 and 8 members divide well, but a scan over a split axis gathers all of it."""
    name = SCANNED if scan else LAYER
    found = specs(
        "model.depth=8", f"model.scan_layers={scan}", f"train.ensemble={members}",
        sizes=Mesh(data=2, fsdp=2, tensor=2),
    )  # fmt: skip
    ahead = [None] * (int(scan) + int(members > 1))
    assert found[f"{name}/attention/query/kernel"] == [*ahead, "fsdp", "tensor"]
    assert found[f"{name}/mlp/out/kernel"] == [*ahead, "tensor", "fsdp"]
    assert found[f"{name}/mlp/hidden/bias"] == [*ahead, "tensor"]
    # Small in one layer, however many layers there are.
    assert found[f"{name}/mlp_norm/scale"] == []


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lion", "adafactor"])
@pytest.mark.parametrize("scan", [False, True])
def test_optimizer_state_and_average_follow_their_parameter(optimizer, scan):
    sizes = Mesh(data=2, fsdp=2, tensor=2, rules=(("^params/.*key/kernel$", "fsdp", None, None),))
    changes = (f"optimizer.name={optimizer}", f"model.scan_layers={scan}")
    found = rows(*WIDE, *changes, "optimizer.ema_decay=0.9", sizes=sizes)
    parameters = {
        name.removeprefix("params/"): row for name, row in found.items() if row["part"] == "params"
    }
    followers = [n for n in found if n.startswith(("opt_state/", "carry/ema/"))]
    checked = set()
    for name in followers:
        for key, row in parameters.items():
            if name.endswith("/" + key) and found[name]["shape"] == row["shape"]:
                assert found[name]["spec"] == row["spec"], name
                checked.add((name.partition("/")[0], key))
    assert {key for part, key in checked if part == "carry"} == set(parameters)
    if optimizer != "adafactor":
        assert {key for part, key in checked if part == "opt_state"} == set(parameters)


@pytest.mark.parametrize("scan", [False, True])
def test_factored_moments_lose_the_dimension_that_they_sum(scan):
    changes = ("optimizer.name=adafactor", f"model.scan_layers={scan}")
    found = specs(*changes, sizes=Mesh(data=2, fsdp=2, tensor=2))
    name, ahead = ("layers", [None]) if scan else ("layer_00", [])
    (row,) = [n for n in found if n.endswith(f"v_row/{name}/mlp/hidden/kernel")]
    # Kernel [d=256, f=512] as (fsdp, tensor): rows are summed over f, columns over d.
    assert found[row] == [*ahead, "fsdp"]
    assert found[row.replace("v_row", "v_col")] == [*ahead, "tensor"]
    assert found[row.replace("v_row", "v")] == []


def test_equal_dimensions_are_told_apart_by_rows_and_columns():
    shape = jax.ShapeDtypeStruct((256, 256), np.float32)
    vector = jax.ShapeDtypeStruct((256,), np.float32)
    shapes = {
        "params": {"a": {"kernel": shape}},
        "opt_state": {"v_row": {"a": {"kernel": vector}}, "v_col": {"a": {"kernel": vector}}},
    }
    rules = (("^params/a/kernel$", "fsdp", "tensor"),)
    found = placement.place(shapes, mesh.abstract(Mesh(fsdp=2, tensor=2), 8), rules)["opt_state"]
    assert found["v_row"]["a"]["kernel"].spec == P("fsdp")
    assert found["v_col"]["a"]["kernel"].spec == P("tensor")


def test_networks_of_equal_names_keep_their_own_states_apart():
    large, small = (jax.ShapeDtypeStruct(s, np.float32) for s in ((512, 64), (64, 512)))
    networks = {"critic": {"kernel": large}, "generator": {"kernel": small}}
    state = {name: {"0": {"mu": tree}} for name, tree in networks.items()}
    shapes = {"params": networks, "opt_state": state}
    rules = (("^params/critic/", None, "fsdp"),)
    found = placement.place(shapes, mesh.abstract(Mesh(fsdp=8), 8), rules)
    for name, spec in (("critic", P(None, "fsdp")), ("generator", P(None, "fsdp"))):
        assert found["params"][name]["kernel"].spec == spec
        assert found["opt_state"][name]["0"]["mu"]["kernel"].spec == spec


def test_selected_weights_lie_as_the_parameters_do():
    rule = ("^params/.*hidden/kernel$", "fsdp", None)
    found = specs("train.select.metric=val/loss", sizes=Mesh(data=2, fsdp=4, rules=(rule,)))
    name = f"{LAYER}/attention/query/kernel"
    assert found[f"selection/best/{name}"] == found[name] == ["fsdp"]


def test_the_first_rule_that_is_found_wins_and_fits_the_last_dimensions():
    rules = (
        ("layer_00/mlp/hidden/kernel$", "tensor", None),
        ("hidden/kernel$", ("data", "fsdp")),
    )
    found = specs(sizes=Mesh(data=2, fsdp=2, tensor=2, rules=rules))
    assert found[f"{LAYER}/mlp/hidden/kernel"] == ["tensor"]
    assert found["params/layer_01/mlp/hidden/kernel"] == [None, ["data", "fsdp"]]


def test_a_rule_may_speak_of_the_optimizer_alone():
    """Zero redundancy of the optimizer only: the parameters stay whole."""
    rule = ("^opt_state/.*hidden/kernel$", "data", None)
    found = specs("optimizer.name=adamw", sizes=Mesh(data=8, rules=(rule,)))
    states = [n for n in found if n.startswith("opt_state/") and n.endswith("00/mlp/hidden/kernel")]
    assert len(states) == 2 and all(found[n] == ["data"] for n in states)
    assert found[f"{LAYER}/mlp/hidden/kernel"] == []


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (
            ("hidden/kernel$", "tensr"),
            "rules.0 names the axis 'tensr': did you mean 'tensor'?",
        ),
        (("hidden/kernel$", "data", "data"), "names the axis 'data' twice"),
        (("hidden/(kernel$", "data"), "'hidden/(kernel$' is no regular expression"),
        (("hiden/kernel$", "data"), "is found in no path; the nearest are "),
        ((), "must be a regular expression, then an axis"),
        ((3, "data"), "must be a regular expression, then an axis"),
        (("hidden/bias$", None, "data"), f"has 2 axes, and {LAYER}/mlp/hidden/bias is 512"),
        (
            ("head/kernel$", None, "data"),
            f"splits dimension 1 of {HEAD}, 256 x 10, into 8 parts (data), which do not divide it",
        ),
    ],
)
def test_a_rule_that_cannot_be_followed_is_one_line(rule, told):
    with pytest.raises(ConfigError) as error:
        specs(sizes=Mesh(data=8, rules=(rule,)))
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_the_nearest_paths_are_named():
    with pytest.raises(ConfigError, match=r"nearest are .*layer_0./mlp/hidden/kernel"):
        specs(sizes=Mesh(data=8, rules=(("params/layer_00/mlp/hiden/kernel$", "data"),)))


def test_rollouts_are_split_over_the_batch_axes():
    shapes = {"carry": {"rollout": {"observation": jax.ShapeDtypeStruct((16, 4), np.float32)}}}
    found = placement.place(shapes, mesh.abstract(Mesh(fsdp=2), 8))
    assert found["carry"]["rollout"]["observation"].spec == P(("data", "fsdp"))
    with pytest.raises(ConfigError, match="data x fsdp splits dimension 0"):
        placement.place(shapes, mesh.abstract(Mesh(), 32))


def test_a_tensor_axis_that_does_not_divide_is_told(caplog):
    """4 heads over 8 devices: the hidden units are split, the heads are not."""
    found = specs(sizes=Mesh(data=1, tensor=8))
    assert found[f"{LAYER}/attention/query/kernel"] == []
    assert found[f"{LAYER}/mlp/hidden/kernel"] == [None, "tensor"]
    assert "mesh.tensor=8 does not divide" in caplog.text
    assert "attention/key/kernel (256 x 4 x 64)" in caplog.text
    assert "mlp" not in caplog.text
    caplog.clear()
    specs(sizes=Mesh(data=2, tensor=4))
    assert "does not divide" not in caplog.text
