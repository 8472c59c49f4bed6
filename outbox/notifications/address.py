"""Apprise URLs: what is wrong with one, what may be shown of one, and sending to one."""

import logging
from typing import Any

from outbox.exceptions import AddressRefused, NotificationRefused
from outbox.notifications.guard import allowed_addresses_only
from outbox.states import Severity
from outbox.webhooks.addresses import addresses_of

#: These act on the machine that sends, not on one that a person looks at.
_LOCAL = frozenset({"syslog", "dbus", "qt", "glib", "kde", "gnome", "macosx", "windows"})
#: Apprise's own words.
_TYPES = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.CRITICAL: "failure"}
_MAX_URL = 2_000
_WEB_PORT = 443


def describe(url: str) -> str:
    """Return what may be shown of an Apprise URL: the service, and the host if one was chosen.

    Raises NotificationRefused.
    """
    service = _service(url)
    name = str(service.service_name)
    return f"{name} at {host}" if (host := _host(service)) else name


def send(url: str, *, title: str, body: str, severity: Severity) -> str:
    """Send a message; return what went wrong, or nothing. Takes as long as the service lets it, some 10 s at most."""
    try:
        service = _service(url)
        _check_host(service)
    except (NotificationRefused, AddressRefused) as refusal:
        return str(refusal)
    if not _host(service):
        # It goes where the service always is, maybe by a proxy of ours.
        return _send(service, title, body, severity)
    with allowed_addresses_only() as refused:
        wrong = _send(service, title, body, severity)
    return " ".join(dict.fromkeys(refused))[:500] if wrong and refused else wrong


def _send(service: Any, title: str, body: str, severity: Severity) -> str:
    from apprise import LogCapture

    # Apprise tells by a bool that it failed, and why by its log only.
    with LogCapture(level=logging.WARNING, fmt="%(message)s") as captured:  # type: ignore[no-untyped-call]
        try:
            sent = service.notify(body=body, title=title, notify_type=_TYPES[severity])
        except Exception as error:  # noqa: BLE001 - a hundred plugins; whatever one raises is why it was not sent
            return f"{type(error).__name__}: {error}"[:500]
        why = captured.getvalue().strip().replace("\n", " ")
    return "" if sent else (why or "The service refused it and did not say why.")[:500]


def _service(url: str) -> Any:
    if not 0 < len(url) <= _MAX_URL:
        raise NotificationRefused(f"An Apprise URL has at most {_MAX_URL} characters.", field="url")
    # 0.15 s of every process that never sends anything, so not at the top.
    from apprise import Apprise

    service: Any = Apprise.instantiate(url, suppress_exceptions=True)
    if service is None:
        raise NotificationRefused("That is no URL that Apprise understands.", field="url")
    if _LOCAL & _protocols(service):
        raise NotificationRefused(f"{service.service_name} would only reach this machine.", field="url")
    return service


def _protocols(service: Any) -> set[str]:
    """Return the schemes of a service; Apprise gives one word, or several."""
    given = [service.protocol or (), service.secure_protocol or ()]
    return {word for each in given for word in ([each] if isinstance(each, str) else each)}


def _host(service: Any) -> str:
    """Return the host that the URL's writer chose; none where the service has its own."""
    mail = getattr(service, "smtp_host", None)
    return str(mail or (service.host if "host" in service.template_tokens and service.host else ""))


def _check_host(service: Any) -> None:
    """Raise AddressRefused where the host is at an address that outgoing requests may not reach."""
    host = _host(service)
    if not host:
        return
    try:
        addresses_of(host, service.port or _WEB_PORT)
    except OSError:
        # Not a name of a host: a topic of ntfy.sh stands in the same place. Where it was one, the sending says so, and
        # whatever it connects to is looked at once more.
        return
