"""A model provider on loopback that real agent programs talk to: scripted answers, exact usage, errors on demand."""

from tests.fake_models.answers import Answer, Cut, Hold, Refusal, Text, Thinking, ToolCall, Usage
from tests.fake_models.server import ModelServer, Request

__all__ = ["Answer", "Cut", "Hold", "ModelServer", "Refusal", "Request", "Text", "Thinking", "ToolCall", "Usage"]
