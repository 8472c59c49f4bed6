"""The fixture `model_server`; a conftest.py takes it in by importing it."""

from collections.abc import Iterator

import pytest

from tests.fake_models.anthropic import Messages
from tests.fake_models.server import ModelServer


@pytest.fixture
def model_server() -> Iterator[ModelServer]:
    """A fake model provider with its own script and record."""
    with ModelServer([Messages()]) as server:
        yield server
