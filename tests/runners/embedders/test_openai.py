"""Endpoints that speak OpenAI's interface, spoken to over real sockets."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from runners.embedders import checked, openai
from runners.embedders.openai import OpenAIEmbedder
from runners.exceptions import EmbedderUnavailable, TextsRefused
from tests.runners.embedders.endpoint import Endpoint, answer, refuse, serving, vector_of


@pytest.fixture
def endpoint(settings: Any) -> Iterator[Endpoint]:
    with serving() as found:
        settings.EMBEDDING_URL = found.url + "/"
        settings.EMBEDDING_MODEL = "letters"
        settings.EMBEDDING_KEY = "sesame"
        settings.EMBEDDING_DIMENSION = 0
        yield found


def test_texts_become_vectors_in_their_order(endpoint: Endpoint) -> None:
    assert OpenAIEmbedder().embed(["abc", "xyz"]) == [vector_of("abc"), vector_of("xyz")]
    assert endpoint.paths == ["/v1/embeddings"]
    assert endpoint.asked == [{"model": "letters", "input": ["abc", "xyz"], "encoding_format": "float"}]
    assert endpoint.headers[0]["authorization"] == "Bearer sesame"


def test_a_model_may_be_asked_for_shorter_vectors_and_an_older_model_by_its_name(
    endpoint: Endpoint, settings: Any
) -> None:
    settings.EMBEDDING_DIMENSION, settings.EMBEDDING_KEY = 3, ""
    for embedder in (OpenAIEmbedder(), OpenAIEmbedder("older"), OpenAIEmbedder("older", 5)):
        embedder.embed_query("abc")
    asked = [(body["model"], body.get("dimensions")) for body in endpoint.asked]
    assert asked == [("letters", 3), ("older", None), ("older", 5)]
    assert "authorization" not in endpoint.headers[0]


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 502, 503, 529, 301])
def test_what_is_not_the_texts_fault_is_worth_trying_again(endpoint: Endpoint, status: int) -> None:
    endpoint.reply = refuse(status, "come\n back  later", retry_after="17", location="http://127.0.0.1:1/")
    with pytest.raises(EmbedderUnavailable, match=f"{status}: come back later") as caught:
        OpenAIEmbedder().embed(["abc"])
    assert caught.value.retry_after == 17
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize("header", ["", "Wed, 21 Oct 2015 07:28:00 GMT", "-1", "nan", "inf"])
def test_a_wait_that_is_no_number_of_seconds_is_none(endpoint: Endpoint, header: str) -> None:
    endpoint.reply = refuse(429, retry_after=header)
    with pytest.raises(EmbedderUnavailable) as caught:
        OpenAIEmbedder().embed(["abc"])
    assert caught.value.retry_after is None


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_of_the_texts_is_told_apart(endpoint: Endpoint, status: int) -> None:
    endpoint.reply = refuse(status, "x" * 10_000)
    with pytest.raises(TextsRefused) as caught:
        OpenAIEmbedder().embed(["abc"])
    assert len(caught.value.message) < 500


@pytest.mark.parametrize(
    "body",
    ["", "<html>", "[]", "{}", '{"data": 3}', '{"data": [{"index": 0}]}', '{"data": [{"index": 1, "embedding": [1]}]}',
     '{"data": [{"index": 0, "embedding": ["x"]}]}', '{"data": [{"index": 0, "embedding": null}]}', "[" * 100_000,
     '{"data": [{"index": 0, "embedding": [' + "9" * 400 + "]}]}"],
)  # fmt: skip
def test_an_answer_that_is_none_is_no_vector(endpoint: Endpoint, body: str) -> None:
    endpoint.reply = lambda _: (200, {}, body.encode())
    with pytest.raises(EmbedderUnavailable):
        OpenAIEmbedder().embed(["abc"])


def test_somebody_who_searches_does_not_wait_for_a_silent_endpoint(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai, "QUERY_SECONDS", 0.2)

    def silent(body: dict[str, Any]) -> Any:
        endpoint.go_on.wait()
        return answer()(body)

    endpoint.reply = silent
    with pytest.raises(EmbedderUnavailable, match="did not answer"):
        OpenAIEmbedder().embed_query("abc")


def test_nobody_there_is_unavailable(settings: Any) -> None:
    settings.EMBEDDING_MODEL = "letters"
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        settings.EMBEDDING_URL = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        with pytest.raises(EmbedderUnavailable, match="cannot be asked"):
            OpenAIEmbedder().embed(["abc"])


def test_a_vector_of_another_length_than_those_before_is_refused(endpoint: Endpoint) -> None:
    embedder = OpenAIEmbedder()
    vectors = embedder.embed(["abc"])
    assert checked(embedder, vectors, count=1, dimension=3) == vectors
    endpoint.reply = answer(dimension=4)
    with pytest.raises(EmbedderUnavailable, match="of 4 numbers, where 3 were due"):
        checked(embedder, embedder.embed(["abc"]), count=1, dimension=3)


def test_not_a_number_is_refused_though_json_knows_none(endpoint: Endpoint) -> None:
    endpoint.reply = lambda body: (200, {}, json.dumps({"data": [{"index": 0, "embedding": [float("nan")]}]}).encode())
    embedder = OpenAIEmbedder()
    with pytest.raises(TextsRefused):
        checked(embedder, embedder.embed(["abc"]), count=1, dimension=None)
