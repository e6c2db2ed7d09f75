"""A bundle in, answers out."""

from recsys.serve.spec import Serve

__all__ = ["Serve"]
