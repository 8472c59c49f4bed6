"""What the outbox keeps."""

from outbox.models.audit import AuditEntry, AuditSeal
from outbox.models.entry import Entry

__all__ = ["AuditEntry", "AuditSeal", "Entry"]
