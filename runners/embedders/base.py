"""What an embedder is: it turns texts into vectors, near each other where the texts mean something near."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

Vector = Sequence[float]


class Embedder(ABC):
    """One model, wherever it runs. Made once for a process, and called from many threads.

    `asked` names the model that is wanted, or is empty: then it is the one that the settings choose, with `dimension`
    as they say. With a name, `dimension` is what that model was asked to shorten its vectors to; None: it was not.
    """

    #: Kept with each vector: those of different models are never compared.
    model: str
    #: None: known only from its first answer.
    dimension: int | None = None
    #: Texts that one call of embed() gets at most.
    batch_size: ClassVar[int] = 32
    #: Cosine from which two texts have to do with each other, in this model's eyes.
    floor: float = 0.3

    def __init__(self, asked: str = "", dimension: int | None = None) -> None:
        self.model = asked or self.model

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Return a vector for each text, in order.

        Raises EmbedderUnavailable: nothing is wrong with the texts, it is worth trying again later.
        Raises TextsRefused: it would refuse them again.
        """

    def embed_query(self, text: str) -> Vector:
        """Return the vector of what somebody searches for, who waits for it. Some models tell the two apart."""
        return self.embed([text])[0]

    def missing(self) -> str:
        """Return what keeps it from working here at all, as a sentence; empty: nothing does. Cheap: asked often."""
        return ""
