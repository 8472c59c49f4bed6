"""A publisher that survives its database: `python -m tests.outbox.soak_publisher COUNT AGGREGATES`."""

import os
import sys
import time

import django


def main(count: int, aggregates: int) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "stratavore_site.settings"
    django.setup()
    from django.db import Error, connection, transaction

    from outbox.models import Entry
    from outbox.services import publish
    from outbox.webhooks.types import PING

    def written(n: int) -> bool:
        return Entry.objects.filter(aggregate=f"a:{n % aggregates}", data__n=n).exists()

    n, doubtful = 0, False
    while n < count:
        try:
            # A commit whose answer was lost may have happened.
            if not (doubtful and written(n)):
                about = {"webhook_id": "", "description": "", "host": "", "actor": ""}
                with transaction.atomic():
                    publish(
                        PING, aggregate=f"a:{n % aggregates}", subject="s", routing_key=PING, data={**about, "n": n}
                    )
        except Error:
            connection.close()
            doubtful = True
            time.sleep(0.2)
        else:
            n, doubtful = n + 1, False


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
