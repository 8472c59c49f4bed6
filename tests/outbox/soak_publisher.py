"""A publisher that survives its database: `python -m tests.outbox.soak_publisher COUNT AGGREGATES`."""

import os
import sys
import time

import django

#: Events in one transaction, so that the relays are what is slow.
TOGETHER = 20


def main(count: int, aggregates: int) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "stratavore_site.settings"
    django.setup()
    from django.db import Error, connection, transaction

    from outbox.models import Entry
    from outbox.services import publish
    from outbox.webhooks.types import PING

    about = {"webhook_id": "", "description": "", "host": "", "actor": ""}

    def publish_together(numbers: range) -> None:
        with transaction.atomic():
            for n in numbers:
                publish(PING, aggregate=f"a:{n % aggregates}", subject="s", routing_key=PING, data={**about, "n": n})

    def written(numbers: range) -> bool:
        return Entry.objects.filter(aggregate=f"a:{numbers[0] % aggregates}", data__n=numbers[0]).exists()

    start, doubtful = 0, False
    while start < count:
        numbers = range(start, min(start + TOGETHER, count))
        try:
            # A commit whose answer was lost may have happened.
            if not (doubtful and written(numbers)):
                publish_together(numbers)
        except Error:
            connection.close()
            doubtful = True
            time.sleep(0.2)
        else:
            start, doubtful = numbers.stop, False


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
