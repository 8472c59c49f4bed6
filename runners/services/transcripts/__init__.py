"""Transcripts: what attempts left on their nodes' disks, redacted, in storage."""
