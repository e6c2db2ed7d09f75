"""Vectors in, the best sales out."""

from recsys.retrieval.spec import Exact, Hnsw, Ivf, Pq

__all__ = ["Exact", "Hnsw", "Ivf", "Pq"]
