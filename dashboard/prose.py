"""What an agent says, as HTML: Markdown without HTML, images or links that are more than links.

Whatever is in it is hostile until shown otherwise: the parser escapes every character that is not its own mark-up, and
drops addresses like javascript:. A page renders for a limited time: some texts are made to take long.
"""

import time
from functools import lru_cache
from typing import Any, Final

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

#: Of one page, in seconds of this thread's CPU: 200 usual answers take a third of it.
PAGE_SECONDS = 2.0
#: Addresses that a link may lead to; others are shown as they are written.
SCHEMES: Final = ("https://", "http://", "mailto:")


def _markdown() -> MarkdownIt:
    # A picture would be fetched from wherever an agent says, so that its "![" is text.
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
    parser.disable(["image", "html_block", "html_inline", "entity"])
    parser.validateLink = lambda url: url.lower().startswith(SCHEMES)  # type: ignore[method-assign]
    parser.add_render_rule("link_open", _link)
    return parser


def _link(self: Any, tokens: list[Token], index: int, options: Any, env: Any) -> str:
    tokens[index].attrSet("rel", "noopener noreferrer nofollow")
    tokens[index].attrSet("target", "_blank")
    return str(self.renderToken(tokens, index, options, env))


_PARSER = _markdown()


@lru_cache(maxsize=1_000)
def _rendered(text: str) -> str:
    return str(_PARSER.render(text))


class Prose:
    """Renders the texts of one page; when its time is up, the rest are shown as they were written."""

    def __init__(self, seconds: float = PAGE_SECONDS) -> None:
        self._until = time.thread_time() + seconds

    def html(self, text: str) -> SafeString:
        """Return `text` as HTML."""
        if time.thread_time() > self._until:
            return format_html('<p class="as-written">{}</p>', text)
        return mark_safe(_rendered(text))  # noqa: S308 - the parser escapes all that is not its own
