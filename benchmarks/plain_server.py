"""The service that a tutorial writes: FastAPI and a flat faiss index, to be compared with ours."""

from __future__ import annotations

import sys

import faiss
import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Query(BaseModel):
    """What is asked."""

    vector: list[float]
    k: int = 20


class Hit(BaseModel):
    """A sale that was found."""

    sale: str
    score: float


def app(vectors: np.ndarray) -> FastAPI:
    """Make the service; the route is async, which is the quicker way (PERF 2)."""
    made, index = FastAPI(), faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)

    @made.post("/similar")
    async def similar(query: Query) -> list[Hit]:
        wanted = np.array([query.vector], dtype=np.float32)
        scores, rows = index.search(wanted, query.k)
        return [
            Hit(sale=f"s{row:07d}", score=score)
            for row, score in zip(rows[0].tolist(), scores[0].tolist(), strict=True)
        ]

    return made


if __name__ == "__main__":
    uvicorn.run(
        app(np.load(sys.argv[1])), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning"
    )
