"""Read a queue and forget what comes: `python -m benchmarks._reader URL QUEUE`, until it is ended."""

import sys
from typing import Any

from kombu import Connection


def main(url: str, queue: str) -> None:
    with Connection(url) as opened:
        channel: Any = opened.default_channel
        channel.basic_consume(queue, no_ack=True, callback=lambda message: None)
        while True:
            opened.drain_events()


if __name__ == "__main__":
    main(*sys.argv[1:])
