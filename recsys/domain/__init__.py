"""Nouns in, nouns out: what every other package speaks of, without any algorithm."""
