"""A checked Spec in, a whole run out."""
