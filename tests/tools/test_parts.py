"""What a config's parts say of those that do not fit together: one line, before any training."""

import pytest

from tools import find, parts, resolve
from training.contracts import ConfigError

POSITIONS = "graph/random_walk_positions"


@pytest.mark.parametrize(
    ("config", "changes", "said"),
    [
        ("graph/gcn_karate", ["model.name=graph.gin"], "graph.gin'.*it serves graph_prediction"),
        ("graph/gcn_karate", ["model.name=graph.gae"], "graph.gae'.*it serves link_prediction"),
        ("graph/gin_mutag", ["model.name=graph.gcn"], "serves node_classification"),
        ("graph/gae_cora", ["model.name=graph.gcn"], "serves node_classification"),
        ("graph/distmult_wn18rr", ["model.name=graph.gcn"], "serves node_classification"),
        ("graph/gae_cora", ["data.pipeline=nodes"], "reads 'source'.*: data.pipeline=links gives"),
        ("graph/graph_transformer_esol", ["data.positions=()"], f"reads '{POSITIONS}'.*positions="),
        ("text/bilstm_sst2", ["model.name=vision.vit"], "'vision.vit'.* serves classification"),
        ("text/bert_mlm_sst2", ["model.head=classes"], "head='classes'.*sequence_classification"),
        ("text/bert_mlm_sst2", ["model.head=none"], "head='none'.*serves no task"),
    ],
)
def test_parts_that_do_not_fit(config: str, changes: list[str], said: str) -> None:
    path = str(find.ROOT / "configs" / f"{config}.py")
    values = resolve.resolve(resolve.load_file(path), changes, smoke=True)
    with pytest.raises(ConfigError, match=said):
        parts.build(values, fake=True)
