"""Any endpoint that speaks OpenAI's embeddings interface: OpenAI, Ollama, vLLM, LM Studio, llama.cpp, …"""

from collections.abc import Sequence
from typing import Any

import httpx
from django.conf import settings

from runners.embedders.base import Embedder, Vector
from runners.exceptions import EmbedderUnavailable, TextsRefused

#: A batch on a small machine's processor takes its time; somebody who searches does not wait so long.
BATCH_SECONDS = 60.0
QUERY_SECONDS = 3.0
CONNECT_SECONDS = 3.0
#: These are about what was sent: too long, not understood. Others may pass.
ABOUT_THE_TEXTS = {400, 413, 422}
#: Of an answer's own words about what is wrong.
SHOWN_CHARACTERS = 300


class OpenAIEmbedder(Embedder):
    """The endpoint of the settings. Redirects are not followed: the key is for that address alone."""

    def __init__(self, asked: str = "", dimension: int | None = None) -> None:
        self.model = asked or settings.EMBEDDING_MODEL
        self.dimension = dimension if asked else settings.EMBEDDING_DIMENSION or None
        self.floor = settings.EMBEDDING_FLOOR_PERCENT / 100
        self._url = settings.EMBEDDING_URL.rstrip("/") + "/embeddings"
        headers = {"Authorization": f"Bearer {settings.EMBEDDING_KEY}"} if settings.EMBEDDING_KEY else {}
        self._client = httpx.Client(headers=headers, timeout=httpx.Timeout(BATCH_SECONDS, connect=CONNECT_SECONDS))

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        return self._ask(texts, BATCH_SECONDS)

    def embed_query(self, text: str) -> Vector:
        (vector,) = self._ask([text], QUERY_SECONDS)
        return vector

    def _ask(self, texts: Sequence[str], seconds: float) -> list[Vector]:
        body: dict[str, Any] = {"model": self.model, "input": list(texts), "encoding_format": "float"}
        if self.dimension:
            body["dimensions"] = self.dimension
        try:
            answer = self._client.post(self._url, json=body, timeout=httpx.Timeout(seconds, connect=CONNECT_SECONDS))
        except httpx.TimeoutException:
            raise EmbedderUnavailable(f"{self._url} did not answer within {seconds:.0f} s.") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise EmbedderUnavailable(f"{self._url} cannot be asked: {error or type(error).__name__}.") from None
        if answer.status_code in ABOUT_THE_TEXTS:
            raise TextsRefused(f"{self._url} answered {answer.status_code}: {_words(answer)}")
        if answer.status_code != httpx.codes.OK:
            raise EmbedderUnavailable(
                f"{self._url} answered {answer.status_code}: {_words(answer)}", retry_after=_retry_after(answer)
            )
        return self._vectors(answer, len(texts))

    def _vectors(self, answer: httpx.Response, count: int) -> list[Vector]:
        try:
            items = {int(item["index"]): [float(x) for x in item["embedding"]] for item in answer.json()["data"]}
            return [items[n] for n in range(count)]
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            raise EmbedderUnavailable(f"{self._url} answered with something that is no list of embeddings.") from None


def _words(answer: httpx.Response) -> str:
    return " ".join(answer.text.split())[:SHOWN_CHARACTERS]


def _retry_after(answer: httpx.Response) -> float | None:
    """Return the seconds that the endpoint asks for; its other form, a date, is seldom sent for this."""
    try:
        seconds = float(answer.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
