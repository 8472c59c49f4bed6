"""Read a queue: `python -m benchmarks._reader URL QUEUE`, until it is ended.

With a COUNT behind, until so many have come; then print when each was committed and when it was received, as JSON.
In a process of its own, as readers are: in the writer's it would wait for the writer's interpreter.
"""

import json
import sys
import time
from typing import Any

from kombu import Connection


def main(url: str, queue: str, count: str = "") -> None:
    arrivals: list[tuple[float, float]] = []

    def note(message: Any) -> None:
        if count:
            arrivals.append((json.loads(message.body)["data"]["at"], time.time()))

    with Connection(url) as opened:
        channel: Any = opened.default_channel
        channel.basic_consume(queue, no_ack=True, callback=note)
        print("reading", flush=True)
        while not count or len(arrivals) < int(count):
            opened.drain_events()
    print(json.dumps(arrivals))


if __name__ == "__main__":
    main(*sys.argv[1:])
