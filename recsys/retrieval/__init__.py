"""Vectors in, the best sales out."""
