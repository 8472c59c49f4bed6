"""The node agent: one process per node that adopts the shims it finds and reports what they tell."""
