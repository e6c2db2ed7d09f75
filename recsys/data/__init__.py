"""Tables in, a checked Dataset and its requests out."""
