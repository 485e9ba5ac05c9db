"""Molecules as graphs: features of atoms and bonds by RDKit, and scaffolds.

The features are those of MoleculeNet's message-passing network (Wu et al. 2018, arXiv:1703.00564;
DeepChem's weave featurizer):

    atom  75   element of ELEMENTS or none of them, 44; degree 0 to 10; implicit valence 0 to 6;
               formal charge; radical electrons; hybridisation, 5; aromatic; hydrogens 0 to 4
    bond   6   single, double, triple, aromatic; conjugated; in a ring
    pair  14   the 6 of the bond, 0 where there is none; both in one ring; shortest path of 1 to 7
               bonds, one-hot

Letters: `n` atoms, `e` edges.
"""

from typing import Any

import numpy as np

from data.graph import edges
from data.graph.edges import Graph
from training.contracts import DataError

ELEMENTS = (
    "C", "N", "O", "S", "F", "Si", "P", "Cl", "Br", "Mg", "Na", "Ca", "Fe", "As", "Al", "I", "B",
    "V", "K", "Tl", "Yb", "Sb", "Sn", "Ag", "Pd", "Co", "Se", "Ti", "Zn", "H", "Li", "Ge", "Cu",
    "Au", "Ni", "Cd", "In", "Mn", "Zr", "Cr", "Pt", "Hg", "Pb",
)  # fmt: skip
_HYBRIDISATIONS = ("SP", "SP2", "SP3", "SP3D", "SP3D2")
_BONDS = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")
ATOM_FEATURES, BOND_FEATURES, PAIR_FEATURES = 75, 6, 14
_FARTHEST = 7


def rdkit() -> Any:
    """The module rdkit.Chem, silent; raises DataError, saying what to install, where it lacks."""
    try:
        from rdkit import Chem, RDLogger
    except ModuleNotFoundError as error:
        raise DataError(
            "molecules need RDKit, which is not installed: pip install rdkit (the extra `graphs`)"
        ) from error
    # What does not parse is told by this project's own messages.
    RDLogger.DisableLog("rdApp.*")  # ty: ignore[missing-attribute]
    return Chem


def parse(smiles: str) -> Any:
    """RDKit's molecule of a SMILES, None where it does not parse or is empty."""
    molecule = rdkit().MolFromSmiles(smiles)
    return molecule if molecule is not None and molecule.GetNumAtoms() else None


def graph_of(molecule: Any, pairs: bool = False, where: str = "molecule") -> Graph:
    """{"nodes": float32 [n, 75], "edges": float32 [e, 6 or 14], "senders", ...}, without hydrogens.

    Edges are the bonds, or with `pairs` all pairs of atoms.
    """
    nodes = np.stack([_atom(atom) for atom in molecule.GetAtoms()])
    bonds = list(molecule.GetBonds())
    ends = np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in bonds], np.int64)
    ends = ends.reshape(-1, 2)
    features = np.array([_bond(b) for b in bonds], np.float32).reshape(-1, BOND_FEATURES)
    if pairs:
        ends, features = _pairs(molecule, ends, features)
    graph = edges.edge_list(
        len(nodes), ends[:, 0], ends[:, 1], undirected=True, where=where, edges=features
    )
    return {"nodes": nodes, **graph}


def _one_hot(value: object, accepted: tuple[object, ...], unknown: bool) -> list[float]:
    """A place for each accepted value; `unknown` adds one for others, else they are the last."""
    known = value in accepted
    row = [float(value == a) for a in accepted]
    if unknown:
        return [*row, float(not known)]
    if not known:
        row[-1] = 1.0
    return row


def _atom(atom: Any) -> np.ndarray:
    implicit = atom.GetValence(rdkit().ValenceType.IMPLICIT)
    kind = str(atom.GetHybridization())
    features = [
        *_one_hot(atom.GetSymbol(), ELEMENTS, unknown=True),
        *_one_hot(atom.GetDegree(), tuple(range(11)), unknown=False),
        *_one_hot(implicit, tuple(range(7)), unknown=False),
        float(atom.GetFormalCharge()),
        float(atom.GetNumRadicalElectrons()),
        *_one_hot(kind, _HYBRIDISATIONS, unknown=False),
        float(atom.GetIsAromatic()),
        *_one_hot(atom.GetTotalNumHs(), tuple(range(5)), unknown=False),
    ]
    return np.array(features, np.float32)


def _bond(bond: Any) -> list[float]:
    kind = str(bond.GetBondType())
    return [
        *(float(kind == b) for b in _BONDS),
        float(bond.GetIsConjugated()),
        float(bond.IsInRing()),
    ]


def _pairs(molecule: Any, ends: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(pairs i < j [e, 2], their features [e, 14]) of all atoms."""
    count = molecule.GetNumAtoms()
    one, other = np.triu_indices(count, 1)
    table = np.zeros((count, count, PAIR_FEATURES), np.float32)
    table[ends[:, 0], ends[:, 1], :BOND_FEATURES] = features
    table[ends[:, 1], ends[:, 0], :BOND_FEATURES] = features
    for ring in molecule.GetRingInfo().AtomRings():
        table[np.ix_(ring, ring, [BOND_FEATURES])] = 1.0
    distance = rdkit().GetDistanceMatrix(molecule)[one, other]
    found = table[one, other]
    near = np.flatnonzero(distance <= _FARTHEST)
    found[near, BOND_FEATURES + distance[near].astype(np.int64)] = 1.0
    return np.stack([one, other], axis=1), found


def scaffold(molecule: Any) -> str:
    """The SMILES of its Bemis-Murcko scaffold: rings and what joins them; "" where it has none."""
    rdkit()
    from rdkit.Chem.Scaffolds import MurckoScaffold

    return MurckoScaffold.MurckoScaffoldSmiles(mol=molecule, includeChirality=False)


def scaffold_split(
    scaffolds: list[str], fractions: tuple[float, float, float]
) -> dict[str, np.ndarray]:
    """{"train", "val", "test": int64 [k]}: molecules of one scaffold stay together.

    As DeepChem has it: scaffolds by falling number of molecules fill train, then val, then test, so
    that the test set is of rare scaffolds. There is no randomness in it.
    """
    groups: dict[str, list[int]] = {}
    for number, text in enumerate(scaffolds):
        groups.setdefault(text, []).append(number)
    parts: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    first, second = fractions[0] * len(scaffolds), (fractions[0] + fractions[1]) * len(scaffolds)
    for group in sorted(groups.values(), key=lambda g: (len(g), g[0]), reverse=True):
        if len(parts["train"]) + len(group) <= first:
            parts["train"] += group
        elif len(parts["train"]) + len(parts["val"]) + len(group) <= second:
            parts["val"] += group
        else:
            parts["test"] += group
    return {name: np.array(numbers, np.int64) for name, numbers in parts.items()}
