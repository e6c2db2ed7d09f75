"""What faiss makes of each kind of index: how it is built, asked, written and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_never

import faiss
import numpy as np

from recsys.domain.arrays import F32, I64, Bool
from recsys.domain.errors import BrokenArtefactError
from recsys.retrieval.spec import Exact, Hnsw, Ivf, Pq, Retrieval

library: Any = faiss
"""faiss without its type stubs, which lack what faiss adds in Python."""
WITNESSES = 64
"""Rows compared to know whether a file belongs to the vectors beside it."""
A_CELL = 39
"""Vectors k-means wants for each centre; below it faiss warns on its own stream."""
MANY = 64
"""Vectors for each centre that it is learned from, at most: more take time and find no more."""
CODES = 16
"""Centres of a piece of a vector: 4 bits."""
TRAINED_ON = 1 << 16
"""Vectors that the codes are learned from, at most."""
_CLASSES = {
    "exact": "IndexFlat",
    "ivf": "IndexIVFFlat",
    "hnsw": "IndexHNSWFlat",
    "pq": "IndexIVFPQFastScan",
}


def made(spec: Retrieval, vectors: F32) -> Any:
    """Return faiss's index over vectors F32[n, D]; an exact one looks at them where they lie."""
    num, dim = vectors.shape
    index: Any
    match spec:
        case Exact():
            return looking_at(vectors)
        case Ivf(cells=cells):
            cells = _cells(cells or int(4 * np.sqrt(num)), num)
            flat = faiss.IndexFlatIP(dim)
            index = faiss.IndexIVFFlat(flat, dim, cells, faiss.METRIC_INNER_PRODUCT)
            index.train(_enough(vectors, cells, most=MANY * cells))
        case Hnsw(links=links, build_width=width):
            index = faiss.IndexHNSWFlat(dim, links, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = width
        case Pq():
            index, vectors = _coded(spec, vectors)
        case _:
            assert_never(spec)
    index.add(vectors)
    return index


def _cells(wanted: int, num: int) -> int:
    return max(1, min(wanted, num // A_CELL))


def _coded(spec: Pq, vectors: F32) -> tuple[Any, F32]:
    num, dim = vectors.shape
    pieces = -(-dim // spec.numbers)
    vectors = widened(vectors, pieces * spec.numbers)
    cells = _cells(spec.cells or int(np.sqrt(num)), num)
    index = library.IndexIVFPQFastScan(
        faiss.IndexFlatIP(vectors.shape[1]),
        vectors.shape[1],
        cells,
        pieces,
        4,
        faiss.METRIC_INNER_PRODUCT,
    )
    index.train(_enough(vectors, max(cells, CODES), most=max(TRAINED_ON, MANY * cells)))
    return index, vectors


def _enough(vectors: F32, centres: int, *, most: int) -> F32:
    """Return vectors to learn centres from: evenly spread, or the same ones again where few."""
    num = len(vectors)
    wanted = max(A_CELL * centres, min(num, most))
    return vectors if wanted == num else vectors[np.arange(wanted) * max(1, num // wanted) % num]


def widened(vectors: F32, width: int) -> F32:
    """Return vectors with zeros behind them, which change no inner product, F32[n, width]."""
    missing = width - vectors.shape[1]
    return np.pad(vectors, ((0, 0), (0, missing))) if missing else vectors


def looking_at(vectors: F32) -> Any:
    """Return a flat index that reads vectors F32[n, D] where they lie: no copy is made of them.

    Whoever holds the index holds the vectors too. They may be mapped from a file.
    """
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    index = faiss.IndexFlatIP(vectors.shape[1])
    bytes_of = vectors.reshape(-1).view(np.uint8)
    view: Any = library.MaybeOwnedVectorUInt8
    index.codes = view.create_view(library.swig_ptr(bytes_of), bytes_of.size, view().owner)
    index.ntotal = len(vectors)
    holding(index, vectors)
    return index


def holding(index: Any, *parts: Any) -> None:
    """Keep alive, as long as an index, what it points to; faiss does not know of it."""
    index.referenced_objects = [*getattr(index, "referenced_objects", []), *parts]


def parameters(spec: Retrieval, wider: int, allowed: Bool | None) -> Any:
    """Return how faiss is to search: `wider` times the settings, among what is allowed Bool[n]."""
    chosen: dict[str, Any] = {}
    if allowed is not None:
        chosen["sel"] = library.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
    match spec:
        case Exact():
            return library.SearchParameters(**chosen) if chosen else None
        case Ivf(probes=probes) | Pq(probes=probes):
            return library.SearchParametersIVF(nprobe=probes * wider, **chosen)
        case Hnsw(width=width):
            return library.SearchParametersHNSW(efSearch=width * wider, **chosen)
        case _:
            assert_never(spec)


def write(index: Any, spec: Retrieval, target: Any) -> None:
    """Write to a path or to one of faiss's writers what cannot be had from the vectors themselves.

    An exact index is written as a few of its vectors alone, by which `read` knows the others.
    """
    if isinstance(spec, Exact):
        few = faiss.IndexFlatIP(index.d)
        few.add(np.stack([index.reconstruct(row) for row in witnesses(index.ntotal).tolist()]))
        index = few
    library.write_index(index, target, _flags(spec))


def read(path: Path, spec: Retrieval, vectors: F32) -> Any:
    """Read what `write` wrote, mapped from the file, over the vectors F32[n, D] that it is of.

    Raises:
        BrokenArtefactError: no index, one of another kind, or one of other vectors.
    """
    faiss.set_deserialization_vector_byte_limit(max(1, path.stat().st_size))
    try:
        index = library.read_index(str(path), _flags(spec) | faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise BrokenArtefactError(
            f"cannot read index {path.name}", str(error)[:200], "publish the bundle again"
        ) from error
    if not type(index).__name__.startswith(_CLASSES[spec.kind]):
        raise BrokenArtefactError(
            f"index {path.name} is a {type(index).__name__}, not of kind {spec.kind}",
            "publish the bundle again, or name the kind it was built with",
        )
    _check(index, spec, vectors, name=path.name)
    if isinstance(spec, Exact):
        return looking_at(vectors)
    if isinstance(spec, Hnsw):
        index.storage = looking_at(vectors)
        index.own_fields = False
        holding(index, index.storage, vectors)
    return index


def _flags(spec: Retrieval) -> int:
    # the graph alone: its vectors lie beside it
    return int(faiss.IO_FLAG_SKIP_STORAGE) if isinstance(spec, Hnsw) else 0


def witnesses(num: int) -> I64:
    """Return the rows, of `num`, by which a file is known to belong to vectors: evenly spread."""
    return np.unique(np.linspace(0, num - 1, min(num, WITNESSES)).astype(np.int64))


def _check(index: Any, spec: Retrieval, vectors: F32, *, name: str) -> None:
    """Refuse a file that is not of these vectors.

    A graph and codes hold none to compare: whoever opens them learns by their recall whether they
    lead to the right ones.
    """
    (num, dim), total = vectors.shape, index.ntotal
    wide = -(-dim // spec.numbers) * spec.numbers if isinstance(spec, Pq) else dim
    if index.d != wide:
        raise _other(name, f"widths {index.d} and {dim}")
    rows = witnesses(num)
    if total != num and not (isinstance(spec, Exact) and total == len(rows)):
        raise _other(name, f"{total:,} and {num:,} vectors")
    if isinstance(spec, Exact):
        held = index.reconstruct_batch(rows if total == num else np.arange(total))
    elif isinstance(spec, Ivf):
        rows, held = _in_cells(index)
    else:
        return
    if not np.array_equal(held, vectors[rows]):
        raise _other(name, "it holds other vectors than stand beside it: another order or model")


def _in_cells(index: Any) -> tuple[I64, F32]:
    """Return rows and vectors of one from each of some cells, I64[c] and F32[c, D]."""
    lists, found = index.invlists, []
    for cell in witnesses(index.nlist).tolist():
        if lists.list_size(cell):
            row = library.rev_swig_ptr(lists.get_ids(cell), 1)[0]
            codes = library.rev_swig_ptr(lists.get_codes(cell), index.code_size)
            found.append((int(row), codes.copy().view(np.float32)))
    rows = np.array([row for row, _ in found], dtype=np.int64)
    return rows, np.stack([vector for _, vector in found])


def _other(name: str, what: str) -> BrokenArtefactError:
    return BrokenArtefactError(
        f"index {name} is not of the vectors beside it", what, "publish the bundle again"
    )
