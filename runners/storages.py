"""Where transcripts are kept: classes for the alias `transcripts` of STORAGES."""

import os
from pathlib import Path
from typing import Any

from botocore.config import Config
from django.core.files.base import File
from django.core.files.storage import FileSystemStorage
from storages.backends.s3 import S3Storage


class LocalTranscripts(FileSystemStorage):
    """A directory. What was saved is on the disk, whole, when save() returns; for this system's user only."""

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Return `name`: it tells of its content, so what stands there already is the same."""
        return name

    def _save(self, name: str, content: "File[bytes]") -> str:
        path = Path(self.path(name))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            for chunk in content.chunks():
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        _sync_directory(path.parent)
        return name


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class S3Transcripts(S3Storage):
    """A bucket. A server that does not answer is given up sooner than by default: whoever waits comes again."""

    def get_default_settings(self) -> dict[str, Any]:
        """Return the defaults of django-storages with our time limits; it takes its bucket from OPTIONS."""
        patience = Config(
            connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 3, "mode": "standard"}
        )  # fmt: skip
        return {**super().get_default_settings(), "client_config": patience, "file_overwrite": True}
