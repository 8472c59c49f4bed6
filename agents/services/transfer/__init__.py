"""Take in the original's files, and write them."""

from agents.services.transfer.exporting import export_files
from agents.services.transfer.importing import ImportReport, import_files

__all__ = ["ImportReport", "export_files", "import_files"]
