"""Errors of the outbox."""


class OutboxError(Exception):
    """The outbox refused."""


class OutsideTransaction(OutboxError):
    """An event or task was published outside a transaction.

    Then a crash between the change and its event would lose one of them.
    """


class UnknownEventType(OutboxError):
    """An event was published whose type nobody registered (outbox/registry.py)."""

    def __init__(self, name: str) -> None:
        super().__init__(f"No event type {name!r} is registered: an app registers its types in AppConfig.ready().")
        self.name = name


class InvalidEventData(OutboxError):
    """The data of an event misses fields that its type promises, or cannot be written as JSON."""


class BrokerMismatch(OutboxError):
    """The broker holds an exchange or queue whose arguments are not the ones declared in outbox/broker.py."""


class BrokerUnavailable(OutboxError):
    """The broker could not be reached, or the connection was lost: whatever was unconfirmed must be sent again."""


class UnknownAuditKey(OutboxError):
    """A row of the audit log was signed with a key that AUDIT_KEYS does not hold."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"The audit key {key_id!r} is not in AUDIT_KEYS: keys that have signed must stay there.")
        self.key_id = key_id


class SecretUnreadable(OutboxError):
    """A secret in the database was encrypted with a key that is not there any more."""


class WebhookRefused(OutboxError):
    """What was asked of a webhook makes no sense; `field` names the culprit."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.facts = {"field": field} if field else {}


class AddressRefused(OutboxError):
    """A webhook's address is not one that requests may be sent to."""


class WebhookInactive(OutboxError):
    """Nothing is sent to a webhook that is switched off."""


class NotificationRefused(OutboxError):
    """What was asked of a notification target makes no sense."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.facts = {"field": field} if field else {}
