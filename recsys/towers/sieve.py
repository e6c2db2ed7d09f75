"""Cheap products that say which sales can be among the best, and scores that are always the same.

A product of matrices rounds as it likes: another tile, another BLAS, another processor, other
bits. So no product of matrices is ever an answer here. It is a sieve with a known mesh: `error`
bounds how far it can be from the score, and what passes is scored by a sum of its own.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from recsys.towers.twolevel import Deal

HALF_BF16 = 2.0**-8
"""bfloat16 keeps 8 bits: rounding moves a number by at most this share of it."""
HALF_FP32 = 2.0**-24


class Sieve:
    """Products of members with all sales, in bfloat16 or float32.

    Let u be a member and v a sale, u' and v' the same in the sieve's precision. Then

        |u'v' - uv| <= |u - u'| |v'| + |u| |v - v'|    (Cauchy and Schwarz; lengths are measured)

    and each of the two sums of d products that stand for u'v' and uv is off by at most
    d 2^-24 |u| |v| in whatever order it is added (Higham 2002, section 3.1). Four times that is
    granted, for tensor cores that cut where a CPU rounds. Where float32 products may be made of
    shorter numbers (a GPU's TF32, torch.set_float32_matmul_precision), 2^-7 |u| |v| is granted for
    the roundings of both operands to as little as 8 bits. Scores written as bfloat16 are rounded
    once more, by 2^-8 of themselves; a GPU may do so to partial sums as well.
    """

    def __init__(self, vectors: Tensor, deal: Deal, *, low: bool) -> None:
        """Take the sales' vectors [n, d], one a rank; `low` is bfloat16."""
        exact = deal.deal(vectors)
        self.deal = deal
        self.kind = torch.bfloat16 if low else torch.float32
        self._vectors = exact.to(self.kind)
        self._length = _longest(exact)
        self._off = _longest(exact - self._vectors.float())
        gpu = vectors.device.type == "cuda"
        share = 4 * (vectors.shape[1] + 8) * HALF_FP32
        if low and gpu:
            share += HALF_BF16
        elif not low and (gpu or torch.get_float32_matmul_precision() != "highest"):
            share += 2 * HALF_BF16
        self._share = share

    def scores(self, members: Tensor, into: Tensor) -> Tensor:
        """Return the products [t, places] of members [t, d] of its kind, put into `into`."""
        torch.mm(members, self._vectors.t(), out=into)
        self.deal.close(into)
        return into

    def above(self, members: Tensor, low: Tensor, *, left: Tensor) -> Tensor:
        """Return what no score [t] can exceed, if the sieve's products are at most `left` [t].

        `low` are the members [t, d] in the sieve's kind.
        """
        length: Tensor = torch.linalg.vector_norm(members, dim=1)
        mesh = length * (self._off + self._share * self._length)
        if self.kind == torch.bfloat16:
            off = torch.linalg.vector_norm(members - low.float(), dim=1)
            mesh = mesh + off * (self._length + self._off) + left.abs().nan_to_num() * HALF_BF16
        # a thousandth for the rounding of this sum itself, and what a CPU calls nought
        return left + (mesh * 1.001 + 1e-30)


def _longest(rows: Tensor) -> float:
    return float(torch.linalg.vector_norm(rows, dim=1).max()) if len(rows) else 0.0


def scores_at(members: Tensor, vectors: Tensor, ranks: Tensor) -> Tensor:
    """Return members' [t, d] products F32[t, c] with their own choice of vectors [n, d].

    Each is a sum of its own: it depends on the two vectors alone, not on what is asked beside.
    """
    if members.device.type == "cpu":
        return _sampled(members, vectors, ranks)
    return _folded(members, vectors, ranks)


def _sampled(members: Tensor, vectors: Tensor, ranks: Tensor) -> Tensor:
    """Sum the products where a sparse matrix has its places: no vector is copied."""
    rows, each = ranks.shape
    places = torch.sparse_csr_tensor(
        torch.arange(rows + 1) * each,
        ranks.reshape(-1),
        members.new_zeros(rows * each),
        size=(rows, len(vectors)),
        check_invariants=False,
    )
    found: Tensor = torch.sparse.sampled_addmm(places, members, vectors.t(), beta=0.0)
    return found.values().view(rows, each)


def _folded(members: Tensor, vectors: Tensor, ranks: Tensor) -> Tensor:
    """Multiply, then add one half to the other until one number is left: no order is chosen."""
    products = vectors[ranks] * members[:, None, :]
    while (width := products.shape[2]) > 1:
        half = (width + 1) // 2
        products[..., : width - half] += products[..., half:]
        products = products[..., :half]
    return products[..., 0]


def quiet() -> None:
    """Make torch's one remark on sparse matrices, which is no news, where it is not heard."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _sampled(torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.int64))
