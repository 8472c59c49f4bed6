"""Measurements: `make bench PART=launch`. Each part is a module with `limits()` and `figures()`.

The last line that a run prints is one JSON object, for machines; before it a table, for people. The raw limits of the
machine are measured in the same run: only the ratio of a figure to its limit means something on another machine.
"""
