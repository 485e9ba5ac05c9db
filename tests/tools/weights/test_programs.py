"""tools.import_weights and tools.export_weights as programs: help, tables, codes and one line."""

import json
import struct

import numpy as np
import pytest

from tests.tools.weights.published import GOLDEN, imported
from tools import export_weights, import_weights
from tools.weights.common import files, summary
from training.contracts import DataError

PROGRAMS = {import_weights: ("--from", "--out", "--scan"), export_weights: ("--workdir", "--out")}


@pytest.mark.parametrize("tool", PROGRAMS)
def test_help_is_a_page(tool, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        tool.run(["--help"])
    assert not ended.value.code
    said = capsys.readouterr().out
    assert (tool.__doc__ or "").split("\n")[0].split(":")[0] in said
    assert not [flag for flag in PROGRAMS[tool] if flag not in said]


def test_a_table_has_a_row_for_each_part(tmp_path, capsys) -> None:
    """The two layers in one row, both ways, and the sums of the file's sizes."""
    imported(GOLDEN / "bert_classes", tmp_path / "ours")
    said = capsys.readouterr().out
    for row in ("tokens │ 1 │ 444", "layer_00 to layer_01 │ 32 │", "head │ 2 │ 39"):
        assert row in " ".join(said.split())
    assert f"begin a run with them: --config.train.init_from={tmp_path / 'ours'}" in said
    export_weights.run([f"--workdir={tmp_path / 'ours'}", f"--out={tmp_path / 'theirs'}"])
    said = " ".join(capsys.readouterr().out.split())
    assert "theirs: BertForSequenceClassification" in said
    assert "bert.encoder.layer.0 to bert.encoder.layer.1 │ 32 │" in said
    assert "bert.embeddings.word_embeddings │ 1 │ 444" in said


def test_rows_of_names_with_and_without_numbers() -> None:
    """Layers are counted as numbers are: 10 comes after 9."""
    names = [f"h.{layer}.ln_1.weight" for layer in (10, 9, 0)] + ["class_token", "wte.weight"]
    arrays = {name: np.zeros((2, 3)) for name in names}
    assert summary.rows(arrays) == [("h.0 to h.10", 3, 18), ("class_token", 1, 6), ("wte", 1, 6)]
    assert summary.rows({"h.0.a": np.zeros(2)}) == [("h.0", 1, 2)]


def test_a_type_that_numpy_does_not_have_is_told(tmp_path) -> None:
    header = json.dumps({"a": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match=r"of a type that NumPy does not have: .*float8"):
        files.read(str(tmp_path))


def test_a_mistake_is_one_line_and_a_code(program, tmp_path) -> None:
    """2 of what was typed, 3 of a file that is damaged."""
    whole = (GOLDEN / "gpt2_tied" / "model.safetensors").read_bytes()
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole[:-100])
    (tmp_path / "config.json").write_bytes((GOLDEN / "gpt2_tied" / "config.json").read_bytes())
    for source, code, says in (("nowhere", 2, "does not exist"), (cut, 3, "or damaged")):
        out = tmp_path / "out"
        ended = program("-m", "tools.import_weights", f"--from={source}", f"--out={out}")
        assert ended.returncode == code, ended.stderr
        lines = ended.stderr.strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: ") and says in lines[0]
        assert not out.exists()
