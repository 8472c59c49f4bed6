"""Say what is wrong with a queue, before a worker tries over and over to consume from it."""

from typing import Any

from celery.signals import celeryd_after_setup
from kombu.exceptions import KombuError

CONNECT_TIMEOUT_SECONDS = 3


@celeryd_after_setup.connect
def declare_queues(instance: Any, **_: Any) -> None:
    """Declare what this worker is to serve. Ends it, with a sentence, where RabbitMQ holds a queue otherwise."""
    from amqp.exceptions import PreconditionFailed

    app = instance.app
    if not str(app.conf.broker_url).startswith("amqp"):
        return
    for queue in list(app.amqp.queues.consume_from.values()):
        try:
            with app.connection_for_read(connect_timeout=CONNECT_TIMEOUT_SECONDS) as connection:
                queue(connection.default_channel).declare()
        except PreconditionFailed as error:
            raise SystemExit(
                f"The queue {queue.name} is on the broker already, but not as stratavore_site/broker.py declares it "
                f"({queue.queue_arguments or {}}): {error.reply_text} Delete it on the broker and start again."
            ) from None
        except (KombuError, OSError, *app.connection_for_read().connection_errors):
            return  # Celery waits for a broker that is away, and says so.
