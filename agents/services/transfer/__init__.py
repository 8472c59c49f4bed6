"""Take in the original's files, and write them."""

from agents.services.transfer.exporting import export_files
from agents.services.transfer.importing import import_files
from agents.services.transfer.report import ImportReport

__all__ = ["ImportReport", "export_files", "import_files"]
