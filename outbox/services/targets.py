"""Create, change, try out and delete notification targets."""

from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from outbox.encryption import encrypt
from outbox.exceptions import NotificationRefused
from outbox.models import Notification, NotificationRule, NotificationTarget
from outbox.notifications.address import describe
from outbox.patterns import wrong_pattern
from outbox.services.audit import record_act
from outbox.states import NotificationStatus, Severity

Rules = Sequence[Mapping[str, Any]]
CHOSEN = (
    "name",
    "shown",
    "active",
    "settle_seconds",
    "window_seconds",
    "quiet_from",
    "quiet_until",
    "time_zone",
    "critical_passes",
)


@transaction.atomic
def save_target(
    target: NotificationTarget, *, actor: str, url: str = "", rules: Rules | None = None, **wanted: Any
) -> NotificationTarget:
    """Create a target or change what is given of one. `rules` replace those it has. Raises NotificationRefused."""
    stored = NotificationTarget.objects.select_for_update().filter(pk=target.pk).first()
    before = chosen(stored) if stored else None
    for name, value in wanted.items():
        setattr(target, name, value)
    if url:
        target.shown = describe(url)[:200]
        target.url = encrypt(url)
    if stored is None:
        target.created_by = actor
    check_target(target)
    target.save()
    if rules is not None:
        _replace_rules(target, rules)
    _record("change" if stored else "create", target, actor, before=before, after=chosen(target))
    if url and stored:
        _record("change_url", target, actor)
    return target


@transaction.atomic
def delete_target(target: NotificationTarget, *, actor: str) -> None:
    """Delete a target with its rules and its log."""
    _record("delete", target, actor, before=chosen(target))
    target.delete()


@transaction.atomic
def try_target(target: NotificationTarget, *, actor: str) -> Notification:
    """Have a test message sent at once, also in quiet hours; the log shows what came of it."""
    _record("test", target, actor)
    return Notification.objects.create(
        target=target,
        title="A test from Stratavore",
        body=f"Asked for by {actor}.",
        severity=Severity.INFO,
        event_count=0,
    )


@transaction.atomic
def send_again(notification: Notification, *, actor: str) -> Notification:
    """Try a message again that was given up. Raises NotificationRefused for any other."""
    now = timezone.now()
    changed = Notification.objects.filter(pk=notification.pk, status=NotificationStatus.FAILED).update(
        status=NotificationStatus.PENDING, next_attempt_at=now, settled_at=None, attempts=0, created_at=now
    )
    if not changed:
        raise NotificationRefused("Only a message that was given up is sent again.")
    _record("send_again", notification.target, actor, after={"notification": notification.pk})
    notification.refresh_from_db()
    return notification


def chosen(target: NotificationTarget) -> dict[str, Any]:
    """Return what people chose of a target, without its URL."""
    rules = [
        {"event_types": rule.event_types, "severity": rule.severity, "projects": rule.projects}
        for rule in NotificationRule.objects.filter(target=target)
    ]
    return {**{name: getattr(target, name) for name in CHOSEN}, "rules": rules}


def check_rule(event_types: Sequence[str], severity: str) -> None:
    """Raise NotificationRefused if a rule makes no sense."""
    for pattern in event_types:
        if wrong := wrong_pattern(pattern):
            raise NotificationRefused(wrong, field="event_types")
    if not event_types:
        raise NotificationRefused("A rule needs event types: * for all.", field="event_types")
    if severity not in Severity.values:
        raise NotificationRefused(f"A severity is one of {', '.join(Severity.values)}.", field="severity")


def check_target(target: NotificationTarget) -> None:
    """Raise NotificationRefused if a target makes no sense."""
    if not target.url:
        raise NotificationRefused("A target needs an Apprise URL.", field="url")
    if target.time_zone not in available_timezones():
        raise NotificationRefused(f"There is no time zone {target.time_zone!r}.", field="time_zone")
    if (target.quiet_from is None) != (target.quiet_until is None) or (
        target.quiet_from is not None and target.quiet_from == target.quiet_until
    ):
        raise NotificationRefused("Quiet hours need two different times, or none.", field="quiet_until")
    try:
        target.full_clean(validate_constraints=True)
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise NotificationRefused(" ".join(messages), field=field) from None


def _replace_rules(target: NotificationTarget, rules: Rules) -> None:
    for rule in rules:
        check_rule(rule["event_types"], rule.get("severity", Severity.WARNING))
    NotificationRule.objects.filter(target=target).delete()
    NotificationRule.objects.bulk_create(NotificationRule(target=target, **rule) for rule in rules)


def _record(verb: str, target: NotificationTarget, actor: str, **facts: Any) -> None:
    record_act(
        f"notification_target.{verb}",
        actor=actor,
        target_type="notification_target",
        target_id=target.pk,
        target_name=target.name,
        **facts,
    )
