"""A relay in a process of its own, to be killed by tests: `python -m tests.outbox.relay_process EXCHANGE`."""

import os
import sys
import time

import django


def main(exchange: str) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "stratavore_site.settings"
    django.setup()
    from django.conf import settings

    settings.OUTBOX_EXCHANGE = exchange
    settings.OUTBOX_LISTENERS = []
    settings.OUTBOX_HANDLERS = {}
    from outbox.services.relay import relay_all

    while True:
        if not relay_all():
            time.sleep(0.02)


if __name__ == "__main__":
    main(sys.argv[1])
