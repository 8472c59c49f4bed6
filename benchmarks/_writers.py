"""Writers on a database that keeps its promises: `python -m benchmarks._writers` prints their commit rates as JSON.

In a process of its own, because the other figures are taken on a throwaway server that never syncs: there a commit
costs nothing, and a second statement would look like half of the work.
"""

import json
import statistics
import threading
import time
from collections.abc import Callable

import django

WRITERS, SECONDS, ROUNDS = 4, 3.0, 3


def main() -> None:
    django.setup()
    from benchmarks import outbox

    outbox.prepare_database()
    rounds = [(_rate(outbox.commit_row), _rate(outbox.commit_row_with_event)) for _ in range(ROUNDS)]
    print(
        json.dumps(
            {
                "durable_commits_per_second": statistics.median(plain for plain, _ in rounds),
                "durable_commits_with_publish_to_without": statistics.median(
                    with_event / plain for plain, with_event in rounds
                ),
            }
        )
    )


def _rate(action: Callable[[], object]) -> float:
    ends, counts = time.monotonic() + SECONDS, list[int]()

    def write() -> None:
        from django.db import connection

        count = 0
        while time.monotonic() < ends:
            action()
            count += 1
        counts.append(count)
        connection.close()

    threads = [threading.Thread(target=write) for _ in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS


if __name__ == "__main__":
    main()
