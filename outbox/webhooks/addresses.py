"""Which addresses a request may go to: public ones, and the networks that the settings allow.

A webhook's URL is chosen by a user and fetched from inside the network, where other services trust their neighbours.
"""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from django.conf import settings

from outbox.exceptions import AddressRefused

Address = IPv4Address | IPv6Address

#: RFC 6052 and 8215: IPv6 addresses by which a translator reaches the IPv4 address in their last 32 bits.
_NAT64 = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))
#: Deprecated IPv4-compatible addresses (::a.b.c.d) and tunnels: nobody serves webhooks there.
_REFUSED = tuple(map(ip_network, ("::/96", "2002::/16", "2001::/32", "fec0::/10")))
#: Below 1024 only the web's own: no mail server or database is to be talked to by HTTP.
_LOW_PORTS = {80, 443}
_MAX_URL = 2_000


def check_url(url: str) -> None:
    """Raise AddressRefused unless a webhook may have this URL. Its name is looked up at each request, not here."""
    if len(url) > _MAX_URL or not url.isascii() or any(character <= " " or character == "\x7f" for character in url):
        raise AddressRefused(f"A URL has at most {_MAX_URL} printable ASCII characters.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise AddressRefused(f"That is no URL: {error}.") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and settings.WEBHOOK_ALLOW_HTTP):
        raise AddressRefused("The URL must begin with https://.")
    if not host:
        raise AddressRefused("The URL names no host.")
    if "@" in parts.netloc:
        raise AddressRefused("The URL must hold no user name and no password: they would end up in logs.")
    if parts.fragment:
        raise AddressRefused("The URL must have no fragment.")
    if port is not None and port not in _LOW_PORTS and port < 1024:
        raise AddressRefused(f"Port {port} is not one for the web: 80, 443, or 1024 and above.")
    _check_literal(host)


def addresses_of(host: str, port: int) -> list[Address]:
    """Look up `host` and return its addresses. Raises AddressRefused if any is refused, OSError if there is none.

    Connect to one of these, never to the name again: its owner may answer the next question otherwise.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(ip_address(str(place[0]).partition("%")[0]) for *_, place in found))
    for address in addresses:
        if not is_allowed(address):
            raise AddressRefused(f"{host} is at {address}, which is not a public address.")
    return addresses


def is_allowed(address: Address) -> bool:
    """Return whether a request may go to `address`."""
    if any(address in ip_network(network) for network in settings.WEBHOOK_ALLOWED_NETWORKS):
        return True
    if isinstance(address, IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return is_allowed(inner)
        if any(address in network for network in _REFUSED):
            return False
    # is_global is IANA's registry of special addresses: private, loopback, link-local, shared, documentation, reserved.
    return address.is_global and not address.is_multicast and not address.is_reserved


def _inner(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 one stands for."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if any(address in network for network in _NAT64):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _check_literal(host: str) -> None:
    try:
        address = ip_address(host)
    except ValueError:
        return
    if not is_allowed(address):
        raise AddressRefused(f"{address} is not a public address.")
