"""Writers on a database that keeps its promises: `python -m benchmarks._writers` prints their commit rates as JSON.

Processes, as web, workers and node agents are, on a PostgreSQL that syncs its commits: the other figures are taken on
a throwaway server, where a commit costs nothing and a second statement would look like half of the work. Each writes
with and without publish() in turns, so that both meet the same weather, in two ways: a runner's move as the product
makes it, and the harshest case, a transaction of one small row.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from unittest import mock
from uuid import UUID

import django

WRITERS, SECONDS, ROUNDS = 4, 2.0, 3
#: Of each round: (what, with publish).
TURNS = (("row", False), ("row", True), ("move", False), ("move", True))


def main() -> None:
    """Start the writers, and add up what they wrote."""
    django.setup()
    from benchmarks import outbox
    from outbox.models import Entry

    outbox.prepare_database()
    command = [sys.executable, "-m", "benchmarks._writers"]
    pipe = subprocess.PIPE
    writers = [
        subprocess.Popen([*command, str(_new_runner(n))], stdin=pipe, stdout=pipe, text=True, env=os.environ)
        for n in range(WRITERS)
    ]
    for writer in writers:
        if writer.stdout is None or writer.stdout.readline() != "ready\n":
            raise SystemExit("A writer could not begin.")
    begin = str(time.time() + 1)
    for writer in writers:
        if writer.stdin is not None:
            writer.stdin.write(f"{begin}\n")
            writer.stdin.flush()
    lines = [writer.communicate()[0].splitlines()[-1] for writer in writers]
    counts = [json.loads(line) for line in lines]
    published = sum(
        count for rounds in counts for turns in rounds for count, (_, on) in zip(turns, TURNS, strict=True) if on
    )
    warm = 2 * WRITERS
    if Entry.objects.count() != published + warm:
        raise SystemExit(f"{published} publications left {Entry.objects.count()} entries.")
    sums = [[sum(rounds[n][turn] for rounds in counts) for turn in range(len(TURNS))] for n in range(ROUNDS)]
    rates = [[total / SECONDS for total in turns] for turns in sums]
    print(
        json.dumps(
            {
                "durable_moves_per_second": statistics.median(row[2] for row in rates),
                "durable_moves_with_publish_to_without": statistics.median(row[3] / row[2] for row in rates),
                "durable_one_row_commits_per_second": statistics.median(row[0] for row in rates),
                "durable_one_row_commits_with_publish_per_second": statistics.median(row[1] for row in rates),
                "durable_one_row_commits_with_publish_to_without": statistics.median(row[1] / row[0] for row in rates),
            }
        )
    )


def write(runner: UUID) -> None:
    """Write in turns, in step with the other writers; print how much in each."""
    django.setup()
    from benchmarks import outbox

    outbox.register_type()
    actions = {
        ("row", False): outbox.commit_row,
        ("row", True): outbox.commit_row_with_event,
        ("move", False): _mover(runner, nothing_published()),
        ("move", True): _mover(runner, nullcontext()),
    }
    for turn in TURNS:
        actions[turn]()
    print("ready", flush=True)
    counts: list[list[int]] = []
    ends = float(sys.stdin.readline())
    for _ in range(ROUNDS):
        counts.append([])
        for turn in TURNS:
            time.sleep(max(0.0, ends - time.time()))
            ends += SECONDS
            counts[-1].append(_count(actions[turn], ends))
    print(json.dumps(counts))


def _count(action: Callable[[], object], ends: float) -> int:
    count = 0
    while time.time() < ends:
        action()
        count += 1
    return count


def _mover(runner: UUID, around: AbstractContextManager[object]) -> Callable[[], object]:
    """Return what pauses the runner and resumes it, by turns."""
    from runners.models import Runner
    from runners.states import RunnerStatus
    from runners.transitions import move

    def step() -> None:
        status = Runner.objects.values_list("status", flat=True).get(pk=runner)
        to = RunnerStatus.RUNNING if status == RunnerStatus.PAUSED else RunnerStatus.PAUSED
        with around:
            move(runner, to, generation=1, actor="system:bench")

    return step


class nothing_published:  # noqa: N801 - reads as a statement
    """Let runners move without telling anybody: all the rest of a move is done."""

    def __enter__(self) -> None:
        self._patch = mock.patch("runners.events.publish")
        self._patch.start()

    def __exit__(self, *_: object) -> None:
        self._patch.stop()


def _new_runner(n: int) -> UUID:
    from django.utils import timezone

    from runners.models import Node, Project, Runner
    from runners.states import NodeStatus, RunnerStatus

    project = Project.objects.create(name=f"writer-{n}", path=f"/writer-{n}")
    node = Node.objects.create(
        name=f"writer-{n}", hostname="here", slots=8, status=NodeStatus.ONLINE, last_seen_at=timezone.now()
    )
    made = Runner.objects.create(
        project=project,
        node=node,
        name=f"writer-{n}",
        backend="command",
        argv=["true"],
        workspace=project.path,
        status=RunnerStatus.RUNNING,
    )
    return made.pk


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write(UUID(sys.argv[1]))
    else:
        main()
