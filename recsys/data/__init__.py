"""Tables in, a checked Dataset and its requests out."""

from recsys.data.spec import EventTable, Table, TablesSource

__all__ = ["EventTable", "Table", "TablesSource"]
