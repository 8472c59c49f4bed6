"""Both storages of transcripts: a directory, and a real S3-compatible server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runners.models import Runner
from runners.services.transcripts.store import Place
from runners.states import TranscriptKind
from tests.runners.factories import make_runner
from tests.s3 import BUCKET, KEYS, S3


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    server = S3(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.stop()


def use(settings: Any, backend: str, **options: str) -> None:
    """Keep transcripts in this storage."""
    alias = {"BACKEND": f"runners.storages.{backend}", "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, "transcripts": alias}


@pytest.fixture
def directory(settings: Any, tmp_path: Path) -> Path:
    """Keep transcripts in this directory."""
    use(settings, "LocalTranscripts", location=str(tmp_path / "kept"))
    return tmp_path / "kept"


@pytest.fixture
def s3(settings: Any, s3_server: S3, monkeypatch: pytest.MonkeyPatch, request: Any) -> S3:
    """Keep transcripts in a bucket."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    use(settings, "S3Transcripts", bucket_name=BUCKET, location=request.node.name, endpoint_url=s3_server.url)
    return s3_server


@pytest.fixture(params=["directory", "s3"])
def kept(request: Any) -> Any:
    """Keep transcripts in one storage, then in the other."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def place(db: None) -> Place:
    return place_of(make_runner())


def place_of(runner: Runner, kind: TranscriptKind = TranscriptKind.OUTPUT) -> Place:
    return Place(runner.pk, runner.generation, kind)
