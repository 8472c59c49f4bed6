"""The storage of transcripts: objects of bytes by name, and what goes wrong with it."""

from collections.abc import Iterator
from uuid import UUID

from botocore.exceptions import BotoCoreError, ClientError
from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages

#: It is away, full, or refuses us: whoever stores comes again later.
AWAY = (OSError, BotoCoreError, ClientError)


def shelf() -> Storage:
    """Return Django's storage for transcripts."""
    return storages["transcripts"]


def folder(runner_id: UUID, generation: int, kind: str) -> str:
    """Return the name below which the parts of one transcript are."""
    return f"{runner_id.hex}/{generation}/{kind}"


def put(name: str, data: bytes) -> str:
    """Keep `data`, and return the name it got."""
    return shelf().save(name, ContentFile(data))


def get(name: str) -> bytes:
    """Return what is kept under `name`. Raises FileNotFoundError, or one of AWAY."""
    with shelf().open(name) as file:
        data: bytes = file.read()
    return data


def names(within: str) -> Iterator[str]:
    """Yield the names of what is kept in a folder."""
    try:
        _, files = shelf().listdir(within)
    except FileNotFoundError:
        return
    for name in files:
        if name:  # S3 may have an object that stands for the folder
            yield f"{within}/{name}"


def remove(name: str) -> None:
    """Keep it no more; it may be gone already."""
    shelf().delete(name)
