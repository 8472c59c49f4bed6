"""Answer together what several threads ask at once: what a transaction costs, they share."""

import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Topic = TypeVar("Topic", bound=Hashable)
Question = TypeVar("Question")
Answer = TypeVar("Answer")


@dataclass
class _Line(Generic[Question, Answer]):
    """Those who ask about one topic."""

    changed: threading.Condition
    waiting: "list[tuple[Question, Future[Answer]]]" = field(default_factory=list)
    at_work: bool = False


class Together(Generic[Topic, Question, Answer]):
    """Who asks while nobody is being answered is answered at once; who comes meanwhile, with all others that wait.

    Of those that wait, one thread answers for all, with `answer_all`: it gets the topic and their questions in the
    order in which they came, `most` of them at a time, and returns for each the answer, or the exception that its asker
    is to see. Nobody waits for another topic.
    """

    def __init__(
        self, answer_all: Callable[[Topic, Sequence[Question]], Sequence[Answer | Exception]], *, most: int
    ) -> None:
        self.answer_all = answer_all
        self.most = most
        self._lock = threading.Lock()
        #: Only of topics that somebody asks about now.
        self._lines: dict[Topic, _Line[Question, Answer]] = {}

    def waiting(self, topic: Topic) -> int:
        """Return how many wait for those that are being answered now."""
        with self._lock:
            return len(self._lines[topic].waiting) if topic in self._lines else 0

    def ask(self, topic: Topic, question: Question) -> Answer:
        """Return the answer, or raise what is there instead of one."""
        answer: Future[Answer] = Future()
        with self._lock:
            line = self._lines.setdefault(topic, _Line(threading.Condition(self._lock)))
            line.waiting.append((question, answer))
            while line.at_work and not answer.done():
                line.changed.wait()
            if answer.done():
                return answer.result()
            line.at_work = True
        try:
            while not answer.done():
                self._answer_next(topic, line)
        finally:
            with self._lock:
                line.at_work = False
                line.changed.notify_all()
                if not line.waiting:
                    del self._lines[topic]
        return answer.result()

    def _answer_next(self, topic: Topic, line: _Line[Question, Answer]) -> None:
        with self._lock:
            taken, line.waiting = line.waiting[: self.most], line.waiting[self.most :]
        try:
            answers = self.answer_all(topic, [question for question, _ in taken])
        except BaseException as error:
            for _, answer in taken:
                answer.set_exception(error)
            if not isinstance(error, Exception):
                raise  # such as the end of the process; a failure is the askers', of whom this thread may be none
            return
        for (_, answer), found in zip(taken, answers, strict=True):
            if isinstance(found, Exception):
                answer.set_exception(found)
            else:
                answer.set_result(found)
