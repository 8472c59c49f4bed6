"""Errors of the outbox."""


class OutboxError(Exception):
    """The outbox refused."""


class OutsideTransaction(OutboxError):
    """An event or task was published outside a transaction.

    Then a crash between the change and its event would lose one of them.
    """
