"""Scores in, slates with reasons out."""
