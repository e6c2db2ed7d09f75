"""Requests in, vectors of members and sales out."""
