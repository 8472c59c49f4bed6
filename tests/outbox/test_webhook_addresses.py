"""Where a webhook may lead: nowhere inside, whatever its URL, its DNS or its redirects say."""

import datetime
import socket
import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pytest_django import Settings

from outbox.exceptions import AddressRefused
from outbox.webhooks import post as post_module
from outbox.webhooks.addresses import check_url, is_allowed
from outbox.webhooks.post import Answer, Request, post
from tests.outbox.receiver import receiving

NAME = "hooks.example.com"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1", "198.18.0.1", "192.0.2.1",
        "::1", "::", "fe80::1", "fc00::1", "fd12:3456::1", "ff02::1", "fec0::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::a00:1",
        "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_allowed(ip_address(address))


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "2606:2800:21f:cb07::1", "::ffff:93.184.215.14", "64:ff9b::808:808"]
)
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_allowed(ip_address(address))


def test_a_network_that_the_settings_name_is_allowed(settings: Settings) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = ["10.0.0.0/8", "fd00::/8"]
    assert is_allowed(ip_address("10.1.2.3"))
    assert is_allowed(ip_address("fd00::1"))
    assert is_allowed(ip_address("::ffff:10.1.2.3"))
    assert not is_allowed(ip_address("192.168.0.1"))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "ftp://example.com/", "file:///etc/passwd", "https:///nowhere", "example.com",
        "https://ada:secret@example.com/", "https://example.com:22/", "https://example.com:99999/",
        "https://example.com/#fragment", "https://example.com/a b", "https://example.com/\r\nx: y",
        "https://127.0.0.1/", "https://[::1]/", "https://10.0.0.1/", "https://[::ffff:127.0.0.1]/",
        "https://example.com/" + "x" * 2_000, "https://exämple.com/",
    ],
)  # fmt: skip
def test_a_url_that_is_none_for_webhooks_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        check_url(url)


@pytest.mark.parametrize("url", ["https://example.com/hook?x=1", "https://example.com:8443/", "https://93.184.215.14/"])
def test_an_ordinary_url_is_taken(url: str) -> None:
    check_url(url)


def sent(url: str) -> Answer:
    return post(Request(url=url, secrets=["whsec_" + "a" * 32], id="1", body=b"{}"))


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f000001"])
def test_every_spelling_of_loopback_is_refused_when_connecting(host: str, settings: Settings) -> None:
    settings.WEBHOOK_ALLOW_HTTP = True
    with receiving() as receiver:
        answer = sent(f"http://{host}:{receiver.port}/")
        assert receiver.requests == []
    assert answer.status is None
    assert "not a public address" in answer.error


def dns(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Have NAME resolve to each of `answers` in turn, then to the last; return the questions that were asked."""
    real, asked = socket.getaddrinfo, list[str]()

    def resolve(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != NAME:
            return real(host, port, *args, **kwargs)
        addresses = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


def test_a_name_with_one_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    dns(monkeypatch, ["93.184.215.14", "10.0.0.7"])
    assert "10.0.0.7" in sent(f"https://{NAME}/").error


def test_a_name_that_turns_private_after_the_check_leads_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.WEBHOOK_ALLOW_HTTP = True
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.2/32"]
    with receiving() as inner:
        # Allowed at the first question, the inner service at the second.
        asked = dns(monkeypatch, ["127.0.0.2"], ["127.0.0.1"])
        answer = sent(f"http://{NAME}:{inner.port}/")
        assert inner.requests == []
    assert asked == [NAME]
    assert answer.status is None


def certificate(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the TLS of a server named NAME and of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = directory / "server.pem"
    plain = serialization.NoEncryption()
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        + made.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cafile=str(file))


def test_tls_and_the_host_header_carry_the_name_though_the_address_is_pinned(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path
) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.1/32"]
    server, client = certificate(tmp_path)
    monkeypatch.setattr(post_module, "_tls", lambda: client)
    asked = dns(monkeypatch, ["127.0.0.1"])
    with receiving(server) as receiver:
        answer = sent(f"https://{NAME}:{receiver.port}/hook?a=b")
        [request] = receiver.requests
        assert receiver.names_asked == [NAME]
    assert (answer.status, answer.error) == (204, "")
    assert request.headers["host"] == f"{NAME}:{receiver.port}"
    assert request.path == "/hook?a=b"
    assert asked == [NAME]


def test_a_certificate_that_nobody_vouches_for_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path
) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.1/32"]
    server, _ = certificate(tmp_path)
    dns(monkeypatch, ["127.0.0.1"])
    with receiving(server) as receiver:
        answer = sent(f"https://{NAME}:{receiver.port}/")
        assert receiver.requests == []
    assert "certificate" in answer.error.lower()


def test_a_name_that_nobody_knows_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert f"{NAME} is not known" in sent(f"https://{NAME}/").error
