"""What the fake provider can be told to answer, in words that fit every provider's interface."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fake_models.server import Request

_numbers = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens of one answer. `input_tokens` are those neither read from nor written to the cache."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    #: Part of output_tokens, for the providers that tell it apart.
    reasoning_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
        )

    @property
    def prompt_tokens(self) -> int:
        """All tokens of the prompt, cached or not, as OpenAI and Gemini count them."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens


@dataclass(frozen=True)
class Text:
    """Something said."""

    text: str


@dataclass(frozen=True)
class Thinking:
    """A thought shown before the answer."""

    text: str


@dataclass(frozen=True)
class ToolCall:
    """A tool of the program that it shall call."""

    name: str
    input: Mapping[str, Any]
    id: str = field(default_factory=lambda: f"toolu_fake{next(_numbers):06d}")


Block = Text | Thinking | ToolCall


@dataclass(frozen=True)
class Answer:
    """One answer of the model: blocks in their order, and the tokens it took."""

    blocks: tuple[Block, ...]
    usage: Usage = Usage(input_tokens=100, output_tokens=20)

    def __init__(self, *blocks: Block | str, usage: Usage | None = None) -> None:
        object.__setattr__(self, "blocks", tuple(Text(b) if isinstance(b, str) else b for b in blocks))
        object.__setattr__(self, "usage", usage or type(self).usage)

    @property
    def calls_tools(self) -> bool:
        return any(isinstance(block, ToolCall) for block in self.blocks)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An HTTP error in the provider's own words: 401, 429, 529, ..."""

    status: int
    message: str = "The fake provider was told to refuse this."
    retry_after_seconds: int | None = None
    #: More of the answer, as a provider tells its limits.
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cut:
    """Begin to stream `answer`, and cut the connection after `events` of it. Nothing of it is counted as used.

    A client may throw away what it has not read when the cut comes; `when` holds the cut back until it is set.
    """

    answer: Answer
    events: int = 3
    when: threading.Event | None = None


@dataclass(frozen=True)
class Hold:
    """Stream nothing until the client goes away or the server ends: a request that hangs."""


Reply = Answer | Refusal | Cut | Hold
#: A script may decide by looking at the request.
Scripted = Reply | Callable[["Request"], Reply]
