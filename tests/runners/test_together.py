"""Questions of several threads, answered together."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from runners.together import Together
from tests.stack import wait_until


class Answering:
    """Answers with the double of each, and stands still before the first round until it is let go."""

    def __init__(self, *, most: int = 100) -> None:
        self.rounds: list[list[int]] = []
        self.go = threading.Event()
        self.together = Together(self.answer_all, most=most)

    def ask(self, n: int) -> int:
        return self.together.ask("doubles", n)

    def wait_until_waiting(self, count: int) -> None:
        wait_until(lambda: self.rounds and self.together.waiting("doubles") == count, f"{count} wait")

    def answer_all(self, topic: str, questions: Sequence[int]) -> list[int | Exception]:
        self.rounds.append(list(questions))
        assert self.go.wait(30)
        if 13 in questions:
            raise RuntimeError("thirteen")
        return [ValueError(n) if n < 0 else 2 * n for n in questions]


def test_who_comes_alone_is_answered_at_once() -> None:
    answering = Answering()
    answering.go.set()
    assert [answering.ask(n) for n in (1, 2)] == [2, 4]
    assert answering.rounds == [[1], [2]]


@pytest.mark.parametrize(("most", "rounds"), [(100, [[1], [2, 3, 4, 5]]), (3, [[1], [2, 3, 4], [5]])])
def test_those_that_come_meanwhile_are_answered_in_their_order(most: int, rounds: list[list[int]]) -> None:
    answering = Answering(most=most)
    with ThreadPoolExecutor(5) as threads:
        answers = []
        for n in range(1, 6):
            answers.append(threads.submit(answering.ask, n))
            answering.wait_until_waiting(n - 1)
        answering.go.set()
        assert [answer.result(30) for answer in answers] == [2, 4, 6, 8, 10]
    assert answering.rounds == rounds


def test_each_gets_its_own_refusal_and_a_failed_round_ends_no_later_one() -> None:
    answering = Answering(most=2)
    with ThreadPoolExecutor(6) as threads:
        answers = []
        for place, n in enumerate((1, 13, 14, -3, 4)):
            answers.append(threads.submit(answering.ask, n))
            answering.wait_until_waiting(place)
        answering.go.set()
        errors = [type(answer.exception(30)) for answer in answers]
    assert answering.rounds == [[1], [13, 14], [-3, 4]]
    assert errors == [type(None), RuntimeError, RuntimeError, ValueError, type(None)]
    assert answering.ask(5) == 10


def test_a_thousand_questions_of_many_threads_get_their_own_answers() -> None:
    answering = Answering(most=7)
    answering.go.set()
    with ThreadPoolExecutor(32) as threads:
        numbers = [n for n in range(1_000) if n != 13]
        assert list(threads.map(answering.ask, numbers)) == [2 * n for n in numbers]
    assert sorted(n for each in answering.rounds for n in each) == numbers
    assert max(map(len, answering.rounds)) <= 7


def test_nobody_waits_for_another_topic() -> None:
    begun, go = threading.Event(), threading.Event()

    def answer_all(topic: str, questions: Sequence[int]) -> list[str | Exception]:
        if topic == "slow":
            begun.set()
            assert go.wait(30)
        return [f"{topic} {n}" for n in questions]

    together = Together(answer_all, most=10)
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(together.ask, "slow", 1)
        assert begun.wait(30)
        assert together.ask("quick", 2) == "quick 2"
        go.set()
        assert slow.result(30) == "slow 1"
    assert not together._lines, "what nobody asks about is not kept"
