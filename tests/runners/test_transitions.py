"""Status moves: legal ones only, one winner, with history and event."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import IntegrityError, connections, transaction

from outbox.models import Entry
from runners.exceptions import MoveRefused
from runners.models import Runner, RunnerMove
from runners.states import MOVES, TERMINAL, RunnerStatus
from runners.transitions import move
from tests.runners.factories import make_runner

S = RunnerStatus


@pytest.mark.django_db
@pytest.mark.parametrize("start", list(RunnerStatus))
def test_exactly_the_moves_of_the_diagram_are_legal(start: RunnerStatus) -> None:
    for to in RunnerStatus:
        runner = make_runner(status=start, ended_at="2026-01-01T00:00Z" if start in TERMINAL else None)
        if to in MOVES[start]:
            assert move(runner.pk, to, generation=1, actor="system:test").status == to
        else:
            with pytest.raises(MoveRefused):
                move(runner.pk, to, generation=1, actor="system:test")
            assert not RunnerMove.objects.filter(runner=runner).exists()


@pytest.mark.django_db
def test_a_move_writes_history_and_event_with_it() -> None:
    runner = make_runner(status=S.RUNNING)
    move(runner.pk, S.FAILED, generation=1, actor="system:node", reason="exit code 3", exit_code=3)
    runner.refresh_from_db()
    assert runner.ended_at is not None
    history = RunnerMove.objects.get(runner=runner)
    assert (history.from_status, history.to_status, history.reason) == ("running", "failed", "exit code 3")
    event = Entry.objects.get(aggregate=runner.aggregate)
    assert event.type == "runner.failed"
    assert (event.data["from"], event.data["exit_code"], event.data["actor"]) == ("running", 3, "system:node")


@pytest.mark.django_db
def test_a_stale_generation_is_refused() -> None:
    runner = make_runner(status=S.RUNNING, generation=2)
    with pytest.raises(MoveRefused, match="a message of attempt 1 is refused"):
        move(runner.pk, S.TERMINATED, generation=1, actor="system:node")


@pytest.mark.django_db
def test_a_runner_that_is_not_there_is_refused() -> None:
    with pytest.raises(MoveRefused, match="no runner"):
        move(uuid.uuid4(), S.RUNNING, generation=1, actor="system:node")


@pytest.mark.django_db(transaction=True)
def test_of_racing_moves_exactly_one_wins() -> None:
    runner = make_runner(status=S.RUNNING)

    def end(to: RunnerStatus) -> bool:
        try:
            move(runner.pk, to, generation=1, actor="system:test")
        except MoveRefused:
            return False
        finally:
            connections.close_all()
        return True

    with ThreadPoolExecutor(4) as threads:
        wins = list(threads.map(end, [S.TERMINATED, S.FAILED] * 4))
    assert wins.count(True) == 1
    assert RunnerMove.objects.filter(runner=runner).count() == 1
    assert Entry.objects.filter(aggregate=runner.aggregate).count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    "wrong",
    [{"status": "flying"}, {"status": "failed", "ended_at": None}, {"ended_at": "2026-01-01T00:00Z"}, {"node": None}],
)
def test_the_database_itself_refuses_what_cannot_be(wrong: dict[str, object]) -> None:
    runner = make_runner(status=S.RUNNING)
    with pytest.raises(IntegrityError), transaction.atomic():
        Runner.objects.filter(pk=runner.pk).update(**wrong)
