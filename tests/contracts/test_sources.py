"""Every source: what it states of itself and the examples that it makes up agree, without data."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from data.graph import edges
from data.text import kinds
from tests.conftest import Program
from tools import find
from training import config as configs

NAMES = find.names("data.source")
INDICES = (0, 1, 2, 17, 255)
SPLITS = {"train": "train", "test": "test"}


def build(name: str) -> Any:
    module = find.part("data.source", name)
    return module.build(configs.typed(module.Config, module.TINY, "TINY"))


def equal(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    return one.keys() == two.keys() and all(np.array_equal(one[k], two[k]) for k in one)


def test_sources_are_found() -> None:
    assert {"digits", "folder", "mnist"} <= set(NAMES)


def serves(name: str) -> tuple[str, ...]:
    """The pipelines of a source."""
    return getattr(build(name), "pipelines", ("examples",))


TEXT_PIPELINES = {"blocks", "texts"}
IMAGES = [name for name in NAMES if "examples" in serves(name)]
TEXTS = [name for name in NAMES if TEXT_PIPELINES & set(serves(name))]
GRAPHS = [name for name in NAMES if name not in (*IMAGES, *TEXTS)]


def test_graph_sources_are_found() -> None:
    assert {"karate", "knowledge_graph", "moleculenet", "planetoid", "tu_graphs"} <= set(GRAPHS)


def test_text_sources_are_found() -> None:
    known = {"addition", "glue", "imdb", "multi30k", "sst2", "text_folder", "tiny_shakespeare"}
    assert known <= set(TEXTS)


@pytest.mark.parametrize("name", NAMES)
def test_info_is_complete(name: str) -> None:
    source = build(name)
    info = source.info
    language = getattr(source, "form", "") in ("documents", "translation")
    if getattr(source, "form", "") == "documents":
        # One text, or many, which the config's split expressions cut.
        assert "train" in info.num_examples
    else:
        assert {"train", "test"} <= set(info.num_examples) or "validation" in info.num_examples
    assert all(count > 0 for count in info.num_examples.values())
    assert info.num_classes > 1 or info.num_targets or info.num_relations or language
    assert len(info.class_names) in (0, info.num_classes)
    assert len(set(info.class_names)) == len(info.class_names)


@pytest.mark.parametrize("name", NAMES)
def test_its_pipelines_exist(name: str) -> None:
    assert serves(name)
    assert set(serves(name)) <= set(find.names("data.pipeline"))


@pytest.mark.parametrize("name", IMAGES)
def test_fake_is_a_valid_example(name: str) -> None:
    source = build(name)
    for index in INDICES:
        example = source.fake(0, index)
        image, label = np.asarray(example["image"]), np.asarray(example["label"])
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[-1] in (1, 3)
        assert label.shape == ()
        assert np.issubdtype(label.dtype, np.integer)
        assert 0 <= label < source.info.num_classes


@pytest.mark.parametrize("name", [n for n in GRAPHS if "graphs" in serves(n)])
def test_a_fake_graph_is_a_valid_example(name: str) -> None:
    source = build(name)
    info = source.info
    for index in INDICES:
        graph = dict(source.fake(0, index))
        label = np.asarray(graph.pop("label"))
        edges.check(graph, len(graph["nodes"]), name)
        assert graph["nodes"].shape[1] == info.num_features
        assert ("edges" in graph) == bool(info.num_edge_features)
        if info.num_edge_features:
            assert graph["edges"].shape[1] == info.num_edge_features
        if info.num_targets:
            assert label.dtype == np.float32
        else:
            assert 0 <= label < info.num_classes


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name in GRAPHS for kind in serves(name)]
)
def test_a_graph_source_makes_fake_batches(name: str, kind: str) -> None:
    """Indices lie within the graph; the specs are those of the batches."""
    source, module = build(name), find.part("data.pipeline", kind)
    config = configs.typed(module.Config, {**module.TINY, "splits": SPLITS}, "TINY")
    for split in SPLITS:
        pipeline = module.build(config, source, split, train=split == "train", seed=0, fake=True)
        batch = next(pipeline.batches(0))
        shapes = {k: (v.shape, v.dtype) for k, v in batch.items()}
        assert shapes in [
            {k: (s.shape, s.dtype) for k, s in spec.items()} for spec in pipeline.specs
        ]
        arrays = {**batch, **pipeline.constant}
        most = pipeline.info.num_nodes or arrays["graph/nodes"].shape[1]
        found = ("graph/senders", "graph/receivers", "node", "source", "target", "head", "tail")
        for key in found:
            if key in arrays:
                assert arrays[key].dtype == np.int32
                assert arrays[key].min() >= 0
                assert arrays[key].max() < most
        assert (np.diff(arrays["graph/receivers"], axis=-1) >= 0).all()


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name in TEXTS for kind in serves(name)]
)
def test_a_text_source_makes_fake_batches(name: str, kind: str) -> None:
    """Ids lie within the vocabulary; the specs are those of the batches; ids become text."""
    source, module = build(name), find.part("data.pipeline", kind)
    splits = {split: split for split in source.info.num_examples}
    config = configs.typed(module.Config, {**module.TINY, "splits": splits}, "TINY")
    for split in splits:
        pipeline = module.build(config, source, split, train=split == "train", seed=0, fake=True)
        batch = next(pipeline.batches(0))
        shapes = {k: (v.shape, v.dtype) for k, v in batch.items()}
        assert shapes in [
            {k: (s.shape, s.dtype) for k, s in spec.items()} for spec in pipeline.specs
        ]
        info = pipeline.info
        assert info.vocab_size
        assert info.max_length == max(v.shape[1] for v in batch.values() if v.ndim == 2)
        assert all(0 <= i < info.vocab_size for i in info.special.values())
        for key in pipeline.decode:
            assert batch[key].dtype == np.int32
            assert batch[key].min() >= 0 and batch[key].max() < info.vocab_size
            assert pipeline.decode[key](batch[key][0].tolist())
        if "label" in batch:
            assert (batch["label"] >= 0).all()
            assert info.num_targets or (batch["label"] < info.num_classes).all()


@pytest.mark.parametrize("name", TEXTS)
def test_a_fake_text_is_a_valid_example(name: str) -> None:
    source = build(name)
    assert source.form in kinds.FORMS
    for index in INDICES:
        example = source.fake(0, index)
        assert all(example[field] for field in kinds.FORMS[source.form])
        if source.alphabet:
            assert set(example[kinds.FORMS[source.form][0]]) <= set(source.alphabet)


@pytest.mark.parametrize("name", NAMES)
def test_fake_depends_on_its_arguments_alone(name: str) -> None:
    one, other = build(name), build(name)
    for index in INDICES:
        assert equal(one.fake(3, index), other.fake(3, index))
    found = [one.fake(seed, index) for seed in (0, 1) for index in INDICES]
    # A node's fake example is two small numbers, which may well come twice.
    different = {tuple(np.asarray(v).tobytes() for v in example.values()) for example in found}
    assert len(different) > len(found) // 2
    if name in IMAGES:
        assert len({example["image"].tobytes() for example in found}) == len(found)


@pytest.mark.parametrize("name", NAMES)
def test_fake_examples_have_one_structure(name: str) -> None:
    source = build(name)
    found = {
        tuple((k, dtype_of(v), np.ndim(v)) for k, v in source.fake(0, i).items()) for i in INDICES
    }
    assert len(found) == 1


def dtype_of(value: Any) -> str:
    """Texts are of any length."""
    return "text" if isinstance(value, str) else np.asarray(value).dtype.str


@pytest.mark.parametrize("name", IMAGES)
def test_statistics_fit_the_channels(name: str) -> None:
    source = build(name)
    channels = source.fake(0, 0)["image"].shape[-1]
    for values in source.info.statistics.values():
        assert len(values) in (1, channels)
        assert all(0 < value < 1 for value in values)


@pytest.mark.parametrize("name", NAMES)
def test_a_source_knows_its_data_and_is_frozen(name: str) -> None:
    source = build(name)
    reads = {
        "examples": "open", "nodes": "graph", "links": "graph", "graphs": "store",
        "triples": "facts", "blocks": "texts", "texts": "texts",
    }  # fmt: skip
    for method in (*(reads[kind] for kind in serves(name)), "prepare", "verify"):
        assert callable(getattr(source, method))
    if dataclasses.is_dataclass(source):
        assert type(source).__dataclass_params__.frozen


def test_info_and_fake_need_neither_tensorflow_nor_a_file(program: Program) -> None:
    """In a process of its own, where reading a file below a missing data folder would fail."""
    code = (
        "import sys\nfrom tools import find\n"
        f"for name in {NAMES!r}:\n"
        "    module = find.part('data.source', name)\n"
        "    source = module.build(module.Config(**module.TINY))\n"
        "    source.info, source.fake(0, 0)\n"
        "print('tensorflow' in sys.modules, 'tensorflow_datasets' in sys.modules)\n"
    )
    done = program("-c", code, REPRISE_DATA_DIR="/dev/null/data", REPRISE_RAW_DIR="/dev/null/raw")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False", "False"]
