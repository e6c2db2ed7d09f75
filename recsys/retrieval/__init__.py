"""Vectors in, the best sales out."""

from recsys.retrieval.spec import Exact, Hnsw, Ivf

__all__ = ["Exact", "Hnsw", "Ivf"]
