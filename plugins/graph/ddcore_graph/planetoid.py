"""Planetoid: Cora, CiteSeer and PubMed from the eight files of each, without a network connection."""

from __future__ import annotations

import pickle
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import ddcore
from ddcore import plugin as dd
from ddcore_graph import papers
from ddcore_graph.data import node_data
from ddcore_graph.fixed import FixedGraph

FOLDERS = {"cora": "Cora", "citeseer": "CiteSeer", "pubmed": "PubMed"}
VALIDATION = 500
"""Nodes of the public split to choose on: those after the ones to train on."""


class _Rows:
    """A sparse matrix as it was pickled: its parts by name."""

    def __init__(self) -> None:
        self.parts: dict[str, Any] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.parts = state

    def dense(self) -> Tensor:
        """The matrix (n, d). Raises ValueError, TypeError or KeyError where it is none."""
        names = {name.lstrip("_"): value for name, value in self.parts.items()}
        data, columns, starts = (np.asarray(names[name]) for name in ("data", "indices", "indptr"))
        n, d = (int(side) for side in names["shape"])
        if data.dtype.kind not in "fiu" or columns.dtype.kind not in "iu" or starts.dtype.kind not in "iu":
            raise ValueError("a sparse matrix is not of numbers")
        if len(starts) != n + 1 or len(data) != len(columns) or starts[0] != 0 or starts[-1] != len(data):
            raise ValueError("a sparse matrix does not fit together")
        if n * d > 2**31 or (len(columns) and not 0 <= columns.min() <= columns.max() < d):
            raise ValueError("a sparse matrix does not fit its shape")
        rows = np.repeat(np.arange(n), np.diff(starts))
        found = torch.zeros(n, d)
        found[torch.from_numpy(rows), torch.from_numpy(columns.astype(np.int64))] = torch.from_numpy(
            data.astype(np.float32)
        )
        return found


def _text(data: str, encoding: str = "latin1") -> bytes:
    """What pickled bytes are made by; nothing else is decoded."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it is encoded as {encoding}")
    return data.encode(encoding)


def _array() -> Any:
    from numpy._core.multiarray import _reconstruct  # where numpy's own pickles point

    return _reconstruct


MAKERS: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): _text,
    ("__builtin__", "list"): list,
    ("builtins", "list"): list,
    ("collections", "defaultdict"): defaultdict,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{("scipy.sparse" + module, "csr_matrix"): _Rows for module in (".csr", "._csr", "")},
}
"""What the files may name: nothing that does more than hold numbers."""


class _Numbers(pickle.Unpickler):
    """Reads pickles of numbers, and of nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return _array()
        if (module, name) in MAKERS:
            return MAKERS[module, name]
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no part of the data set and is not run")


def _read(path: Path) -> Any:
    if not path.is_file():
        raise ddcore.BadData(
            f"There is no file {path}. Wanted are the eight ind.* files, as torch_geometric.datasets.Planetoid has"
            " them, below the root of the data."
        )
    try:
        if path.name.endswith(".index"):
            return torch.tensor([int(line) for line in path.read_text().split()])
        with path.open("rb") as file:
            found = _Numbers(file, encoding="latin1").load()
        return found.dense() if isinstance(found, _Rows) else found
    except Exception as error:  # a stranger's pickle: anything may come out of it
        raise ddcore.BadData(f"{path} cannot be read as a file of Planetoid: {error}.") from error


@dataclass(frozen=True)
class Planetoid(dd.DataSet):
    """Citations among papers, each a bag of words whose entries sum to one, under the public split.

    20 labelled nodes of each class to train on, 500 to choose on, 1 000 to test on; the files are pickles, which are
    read without running what they name.

    **Reference**: Yang et al., ICML 2016.
    """

    cites: ClassVar[tuple[dd.Citation, ...]] = (papers.YANG,)

    root: dd.FilePath = "data"
    """The folder that holds ``Cora/raw`` and the like, or a folder ``Planetoid`` with these."""
    graph: Literal["cora", "citeseer", "pubmed"] = "cora"
    """Which of the three."""
    inductive: bool = False
    """Whether the nodes to train on hear each other alone."""

    def item_kind(self) -> str:
        return "node"

    def load(self) -> dd.RealData:
        root, folder = Path(self.root).expanduser(), FOLDERS[self.graph]
        root = root / "Planetoid" if (root / "Planetoid").is_dir() else root
        names = ("x", "y", "tx", "ty", "allx", "ally", "graph", "test.index")
        files = {name: _read(root / folder / "raw" / f"ind.{self.graph}.{name}") for name in names}
        try:
            features, classes, edges = _whole(files)
            graph = FixedGraph(F.normalize(features, p=1, dim=1), edges)
        except Exception as error:  # whatever does not fit in a stranger's files
            raise ddcore.BadData(
                f"The files of {self.graph} in {root / folder} do not fit together: {error}."
            ) from error
        labelled, tested = len(files["y"]), files["test.index"].sort().values
        masks = {split: torch.zeros(len(features), dtype=torch.bool) for split in ("train", "validation", "test")}
        masks["train"][:labelled] = True
        masks["validation"][labelled : labelled + VALIDATION] = True
        masks["test"][tested] = True
        return node_data(self.graph, graph, classes, masks, inductive=self.inductive)


def _whole(files: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Features (N, d), classes (N,) and links (2, E) of all nodes.

    Test nodes stand in the files in the order of ``test.index``; numbers that it leaves out are nodes without features
    and links.
    """
    at = files["test.index"]
    known, n = len(files["allx"]), int(at.max()) + 1
    features = torch.zeros(n, files["allx"].shape[1])
    features[:known], features[at] = files["allx"], files["tx"]
    shares = torch.zeros(n, files["ally"].shape[1])
    shares[:known], shares[at] = (torch.from_numpy(np.asarray(files[name], np.float32)) for name in ("ally", "ty"))
    pairs = [(int(heard), int(node)) for node, all_ in files["graph"].items() for heard in all_]
    edges = torch.tensor(pairs).T
    return features, shares.argmax(1), torch.cat([edges, edges.flip(0)], 1)
