"""Wake the relay after a commit."""

from functools import partial

from django.db import transaction

from outbox.sinks import waker


def wake_after_commit() -> None:
    """Wake the relay once this transaction has committed; at most one message for a transaction."""
    wake_for_after_commit(waker.RELAY_TASK)


def wake_for_after_commit(task: str) -> None:
    """Have whoever does `task` woken once this transaction has committed; at most one message for a transaction.

    For work that waits in a table and that a beat would find as well. The queue of the task holds one wake-up.
    """
    # From the newest: behind one that publishes often it is found at once.
    hooks = reversed(transaction.get_connection().run_on_commit)
    if not any(isinstance(hook, partial) and hook.func is wake and hook.args == (task,) for _, hook, _ in hooks):
        transaction.on_commit(partial(wake, task), robust=True)


def wake(task: str = waker.RELAY_TASK) -> None:
    """Ask for a wake-up; a thread sends it. Never waits, never raises: the beat covers a lost one within a second."""
    waker.ask(task)
