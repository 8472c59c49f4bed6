"""The fixture `model_server`; a conftest.py takes it in by importing it."""

from collections.abc import Iterator

import pytest

from tests.fake_models.anthropic import Messages
from tests.fake_models.gemini import GenerateContent
from tests.fake_models.openai import ChatCompletions, Responses
from tests.fake_models.server import ModelServer


@pytest.fixture
def model_server() -> Iterator[ModelServer]:
    """A fake model provider with its own script and record, which speaks every provider's interface."""
    with ModelServer([Messages(), Responses(), ChatCompletions(), GenerateContent()]) as server:
        yield server
