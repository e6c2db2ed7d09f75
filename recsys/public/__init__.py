"""Public sets in, Tables out."""
