"""Keep the price table, and price what could not be priced before."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import structlog
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Model

from outbox.services import enqueue, record_act
from runners.exceptions import InvalidRequest, PriceInUse
from runners.models import ModelPrice, Session, UsageEntry
from runners.models.usage import UNPRICED
from runners.services.charging import charge
from runners.services.ledger import Charge, add_to_sessions, set_price
from runners.services.pricing import PriceBook
from runners.sql import change_reckoning, hold_reckoning
from runners.transitions import CONTROL_QUEUE

log = structlog.get_logger(__name__)

REPRICE_TASK = "runners.tasks.reprice_unknown"
#: What may be changed of a price by which entries were reckoned: the ledger must stay explained.
OPEN_FIELDS = frozenset({"valid_to", "note"})


@transaction.atomic
def save_price(price: ModelPrice, changes: Mapping[str, Any], *, actor: str) -> ModelPrice:
    """Save a price, new or changed; what the ledger could not price before is priced soon. Raises InvalidRequest.

    Of a price that was used only its end and note can change; a new price is a new row with its own date.
    """
    changed = [name for name, value in changes.items() if price.pk is None or getattr(price, name) != value]
    if price.pk and not OPEN_FIELDS.issuperset(changed) and is_used(price):
        raise PriceInUse(f"{price} has priced usage: end it with valid_to, and add the new one.")
    before = facts_of(price) if price.pk else None
    for name in changed:
        setattr(price, name, changes[name])
    _check(price)
    # Whoever is entering usage now by the old table is waited for, and found by the task.
    change_reckoning()
    price.save()
    _record("price.change" if before else "price.create", price, actor, before=before, after=facts_of(price))
    enqueue(REPRICE_TASK, args=[], queue=CONTROL_QUEUE, aggregate="runners.prices")
    return price


@transaction.atomic
def delete_price(price: ModelPrice, *, actor: str) -> None:
    """Delete a price that no entry was reckoned by. Raises PriceInUse."""
    change_reckoning()
    if is_used(price):
        raise PriceInUse(f"{price} has priced usage: end it with valid_to instead.")
    _record("price.delete", price, actor, before=facts_of(price), after=None)
    price.delete()


def facts_of(record: Model) -> dict[str, Any]:
    """Return the values of a record's columns, for the audit log."""
    return {field.attname: field.value_from_object(record) for field in record._meta.concrete_fields}


def _record(action: str, price: ModelPrice, actor: str, **sides: Any) -> None:
    record_act(action, actor=actor, target_type="price", target_id=price.pk, target_name=str(price), **sides)


def is_used(price: ModelPrice) -> bool:
    """Say whether the ledger has entries by this price."""
    return UsageEntry.objects.filter(price=price).exists()


def reprice_unknown() -> int:
    """Price the entries of unknown cost that have a price now; return how many. May run anywhere, twice at once."""
    sessions = UsageEntry.objects.filter(UNPRICED).order_by().values_list("session", flat=True).distinct()
    # Ids first: each session is a transaction of its own, so that nobody waits long for its row.
    done = sum(_reprice_session(session_id) for session_id in list(sessions))
    if done:
        log.info("usage_repriced", entries=done)
    return done


@transaction.atomic
def _reprice_session(session_id: UUID) -> int:
    hold_reckoning()
    Session.objects.select_for_update().only("pk").get(pk=session_id)
    prices = PriceBook.read()
    entries = [entry for entry in UsageEntry.objects.filter(UNPRICED, session=session_id) if set_price(entry, prices)]
    if not entries:
        return 0
    UsageEntry.objects.bulk_update(entries, ["cost_usd", "price", "source"], batch_size=500)
    add_to_sessions(entries, tokens=False)
    charge([_charge(entry) for entry in entries])
    return len(entries)


def _charge(entry: UsageEntry) -> Charge:
    """Return what an entry adds that was of unknown cost before."""
    assert entry.cost_usd is not None  # noqa: S101 - it was just priced
    return Charge(runner_id=entry.runner_id, at=entry.at, usd=entry.cost_usd, unknown_tokens=-entry.total_tokens)


def _check(price: ModelPrice) -> None:
    try:
        price.full_clean()
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise InvalidRequest(" ".join(messages), field=None if field == "__all__" else field) from None
