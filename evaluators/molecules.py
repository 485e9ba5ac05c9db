"""The molecules whose property is predicted best and worst, drawn by RDKit.

They are put together again from their features: the first of an atom's name its element, the first
four of a bond its kind (data/graph/molecules.py). Letters: `n` atoms, `e` bonds, `g` molecules.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluators.common.passes import each_batch, unpadded
from training.config import bounded
from training.contracts import Algorithm, ConfigError, Pipeline, Report, TrainState
from training.figures import Images

BONDS = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")
_MOST_HYDROGENS = 4


@dataclass(frozen=True)
class Config:
    """Attributes:

    most: how many are drawn of each kind.
    size: height and width of a picture, pixels.
    elements: what the first features of an atom stand for, one-hot; what is none is drawn as *.
    charge: the feature that is the formal charge, -1 where there is none.
    hydrogens: the first of five features, one-hot, of an atom with 0 to 4 of them, -1 where there
      are none.
    """

    most: int = 4
    size: int = 240
    elements: tuple[str, ...] = (
        "C", "N", "O", "S", "F", "Si", "P", "Cl", "Br", "Mg", "Na", "Ca", "Fe", "As", "Al", "I",
        "B", "V", "K", "Tl", "Yb", "Sb", "Sn", "Ag", "Pd", "Co", "Se", "Ti", "Zn", "H", "Li", "Ge",
        "Cu", "Au", "Ni", "Cd", "In", "Mn", "Zr", "Cr", "Pt", "Hg", "Pb",
    )  # fmt: skip
    charge: int = 62
    hydrogens: int = 70


TINY: dict[str, Any] = {"most": 1, "size": 80}


def build(
    config: Config, algorithm: Algorithm, pipeline: Pipeline, environment: Any
) -> Callable[[Any, TrainState], Report]:
    """Returns run(compiled, state) -> Report with the figures "best" and "worst", member 0's.

    The report is empty of graphs without features of bonds, or where several processes read.

    Raises:
      ConfigError: RDKit is not installed.
    """
    del environment
    bounded(config.most, 1, float("inf"), "evaluators: most of 'molecules'")
    bounded(config.size, 16, 2000, "evaluators: size of 'molecules'")
    _rdkit()
    members = algorithm.members

    def run(compiled: Any, state: TrainState) -> Report:
        found: list[tuple[float, float, float, Any]] = []
        for local, batch, key in each_batch(compiled, state, pipeline):
            predicted = compiled.predict(state, batch, key)
            if "prediction" not in predicted or "graph/edges" not in local:
                return Report()
            read = {name: batch[name] for name in ("label", "mask")}
            rows = unpadded({"prediction": predicted["prediction"]}, read, members)[0]
            graphs = _graphs(local, own=batch["mask"].ndim == 2)
            if len(graphs) != len(rows["label"]):
                return Report()
            label = rows["label"].reshape(len(graphs), -1)[:, 0]
            said = rows["prediction"][:, 0]
            found += [
                (abs(float(a - b)), float(a), float(b), graph)
                for a, b, graph in zip(label, said, graphs, strict=True)
                if np.isfinite(b)
            ]
            found = _ends(found, config.most)
        if not found:
            return Report()
        where = "" if members == 1 else f" (member 0 of {members})"
        best, worst = found[: config.most], found[::-1][: config.most]
        return Report(
            figures={
                "best": _figure(best, config, f"Best predicted molecules{where}"),
                "worst": _figure(worst, config, f"Worst predicted molecules{where}"),
            }
        )

    return run


def _ends(found: list[Any], most: int) -> list[Any]:
    """The first and last `most` by error, in its order."""
    found = sorted(found, key=lambda entry: entry[0])
    return found if len(found) <= 2 * most else found[:most] + found[-most:]


def _graphs(local: Mapping[str, np.ndarray], own: bool) -> list[dict[str, np.ndarray]]:
    """The graphs of a batch whose mask is True, without padding; member 0's where they differ."""
    batch = {k: np.asarray(v)[0] if own else np.asarray(v) for k, v in local.items()}
    packs = len(batch["graph/senders"])
    size = len(batch["mask"]) // packs
    graphs = []
    for number in np.flatnonzero(batch["mask"]):
        pack, graph = divmod(int(number), size)
        inside = {k[6:]: v[pack] for k, v in batch.items() if k.startswith("graph/")}
        nodes = np.flatnonzero(inside["node_graph"] == graph)
        edges = np.isin(inside["senders"], nodes)
        first = nodes[0] if len(nodes) else 0
        graphs.append(
            {
                "nodes": inside["nodes"][nodes],
                "edges": inside["edges"][edges],
                "senders": inside["senders"][edges] - first,
                "receivers": inside["receivers"][edges] - first,
            }
        )
    return graphs


def _figure(found: list[Any], config: Config, title: str) -> Images:
    pictures = [picture(graph, config) for *_, graph in found]
    captions = tuple(f"true {label:.2f}, said {said:.2f}" for _, label, said, _ in found)
    return Images(title, np.stack(pictures), captions)


def picture(graph: Mapping[str, np.ndarray], config: Config) -> np.ndarray:
    """uint8 [size, size, 3] of one molecule's features, as Config names them."""
    from PIL import Image
    from rdkit.Chem.Draw import rdMolDraw2D

    drawer = rdMolDraw2D.MolDraw2DCairo(config.size, config.size)
    # What the features say is drawn, even where no chemist would: nothing is made right before.
    drawer.drawOptions().prepareMolsBeforeDrawing = False
    drawer.DrawMolecule(molecule(graph, config))
    drawer.FinishDrawing()
    with Image.open(io.BytesIO(drawer.GetDrawingText())) as image:
        return np.asarray(image.convert("RGB"))


def molecule(graph: Mapping[str, np.ndarray], config: Config) -> Any:
    """RDKit's molecule of "nodes", "edges", "senders" and "receivers", with places in the plane."""
    chem = _rdkit()
    from rdkit.Chem import rdDepictor

    built = chem.RWMol()
    for row in graph["nodes"]:
        named = np.flatnonzero(row[: len(config.elements)] > 0.5)
        atom = chem.Atom(config.elements[named[0]] if len(named) else "*")
        if 0 <= config.charge < len(row):
            # RDKit looks up the element with as many electrons, and stops where there is none.
            charge = min(round(float(row[config.charge])), atom.GetAtomicNum())
            atom.SetFormalCharge(max(charge, -4))
        atom.SetNoImplicit(True)
        if 0 <= config.hydrogens < len(row):
            counts = row[config.hydrogens : config.hydrogens + _MOST_HYDROGENS + 1]
            atom.SetNumExplicitHs(int(counts.argmax()))
        built.AddAtom(atom)
    for sender, receiver, row in zip(
        graph["senders"].tolist(), graph["receivers"].tolist(), graph["edges"], strict=True
    ):
        kinds = np.flatnonzero(row[: len(BONDS)] > 0.5)
        if sender < receiver and len(kinds) and not built.GetBondBetweenAtoms(sender, receiver):
            built.AddBond(sender, receiver, getattr(chem.BondType, BONDS[kinds[0]]))
    finished = built.GetMol()
    finished.UpdatePropertyCache(strict=False)
    chem.FastFindRings(finished)
    rdDepictor.Compute2DCoords(finished)
    return finished


def _rdkit() -> Any:
    try:
        from rdkit import Chem
    except ModuleNotFoundError as error:
        raise ConfigError(
            "evaluators: 'molecules' needs RDKit: pip install rdkit (the extra `graphs`)"
        ) from error
    return Chem
