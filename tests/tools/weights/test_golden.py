"""Models as transformers saved and computed them: the same outputs here, the same bytes back."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.tools.weights.published import CASES, GOLDEN, imported, largest_difference
from tools import export_weights, find, weights

# What transformers has and we do not: the next-sentence head.
CUT = ("bert_pretraining",)


def test_every_family_has_several_cases() -> None:
    for name in weights.names():
        assert sum(case.startswith(f"{name}_") for case in CASES) >= 2


def test_golden_files_are_small() -> None:
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) < 1e6


@pytest.mark.parametrize("case", CASES)
def test_outputs_are_the_publishers_and_bytes_come_back(case, tmp_path) -> None:
    source = GOLDEN / case
    section, arrays = imported(source, tmp_path / "ours")
    assert largest_difference(section, arrays, source) < 1e-5
    back = tmp_path / "theirs"
    assert export_weights.run([f"--workdir={tmp_path / 'ours'}", f"--out={back}"]) == 0
    same = (back / "model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()
    assert same == (case not in CUT)
    theirs, kept = (json.loads((p / "config.json").read_text()) for p in (source, back))
    if case in CUT:
        return
    if theirs.get("n_inner", 0) is None:
        theirs["n_inner"] = 4 * theirs["n_embd"]  # what stood for "four times" is written out
    assert {key: kept[key] for key in theirs} == theirs


@pytest.mark.parametrize("case", ["gpt2_tied", "bert_body", "deit_small"])
def test_a_scan_has_the_same_layers_in_one_array(case, tmp_path) -> None:
    source = GOLDEN / case
    section, arrays = imported(source, tmp_path / "ours", "--scan")
    assert section["scan_layers"]
    looped, _ = imported(source, tmp_path / "looped")
    assert largest_difference({**section, "scan_layers": False}, arrays, source) < 1e-5
    assert looped == {**section, "scan_layers": False}
    back = tmp_path / "theirs"
    export_weights.run([f"--workdir={tmp_path / 'ours'}", f"--out={back}"])
    assert (back / "model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()


def test_files_of_several_shards_are_one_model(tmp_path) -> None:
    source, folder = GOLDEN / "gpt2_tied", tmp_path / "shards"
    folder.mkdir()
    tensors = sorted(load_file(source / "model.safetensors").items())
    where = {}
    for number, part in enumerate((tensors[:9], tensors[9:20], tensors[20:])):
        name = f"model-{number + 1:05d}-of-00003.safetensors"
        save_file(dict(part), folder / name)
        where |= {key: name for key, _ in part}
    index = {"metadata": {"total_size": 0}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in ("config.json", "cases.safetensors"):
        shutil.copy(source / name, folder)
    section, arrays = imported(folder, tmp_path / "ours")
    assert largest_difference(section, arrays, folder) < 1e-5


def test_old_names_and_repeated_tensors_are_read(tmp_path) -> None:
    """BERT's first files call a norm's arrays gamma and beta, and hold the decoder twice."""
    source, folder = GOLDEN / "bert_masked", tmp_path / "old"
    shutil.copytree(source, folder)
    tensors = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in load_file(source / "model.safetensors").items()
    }
    embedding = tensors["bert.embeddings.word_embeddings.weight"]
    tensors["cls.predictions.decoder.weight"] = embedding.copy()
    save_file(tensors, folder / "model.safetensors")
    section, arrays = imported(folder, tmp_path / "ours")
    assert largest_difference(section, arrays, source) < 1e-5


def test_gpt2_is_read_as_it_was_first_published(tmp_path) -> None:
    """Without the prefix of a model with a head, and with the masks of its attention beside."""
    source, folder = GOLDEN / "gpt2_tied", tmp_path / "old"
    shutil.copytree(source, folder)
    tensors = {
        name.removeprefix("transformer."): tensor
        for name, tensor in load_file(source / "model.safetensors").items()
    }
    mask = np.tril(np.ones((1, 1, 10, 10), np.float32))
    tensors |= {f"h.{layer}.attn.bias": mask for layer in range(2)}
    save_file(tensors, folder / "model.safetensors")
    section, arrays = imported(folder, tmp_path / "ours")
    assert largest_difference(section, arrays, source) < 1e-5


@pytest.mark.parametrize("name", weights.names())
def test_a_table_names_everything_once(name) -> None:
    family = weights.family(name)
    theirs = [entry.theirs for entry in family.entries]
    ours = [path for entry in family.entries for path in entry.paths]
    assert len(set(theirs)) == len(theirs)
    assert len(set(ours)) == len(ours)
    fields = find.part("model", family.model).Config.__dataclass_fields__
    assert {key.ours for key in family.keys} | set(family.ours_fixed) <= set(fields)
