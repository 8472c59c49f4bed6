"""Read the settings that come from the environment, and refuse a bad one with a sentence that names it."""

import os
import re
import socket
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
#: `make up` writes what it chose (addresses, keys) here, mode 0600, so that `manage.py shell` finds the same servers.
ENV_FILE = Path(os.environ.get("STRATAVORE_ENV_FILE", BASE_DIR / ".stratavore" / "env"))

env = environ.Env()
if ENV_FILE.is_file():
    env.read_env(str(ENV_FILE))  # never overrides what the process was given


def required(name: str, *, because: str) -> str:
    """Return the variable `name`, or raise ImproperlyConfigured saying what it is for."""
    value = os.environ.get(name, "").strip()
    if not value:
        raise ImproperlyConfigured(f"{name} is not set: {because}.")
    return value


def secret(name: str, *, development: bool) -> str:
    """Return a secret of at least 32 characters; only development may leave it out."""
    if development and not os.environ.get(name):
        return "development-only-" + "0" * 40
    value = required(name, because="a random string of 50 characters or more signs sessions and tokens")
    if len(value) < 32:
        raise ImproperlyConfigured(f"{name} is too short ({len(value)} characters): use 50 random ones.")
    return value


def keys(name: str, *, development: bool) -> dict[str, str]:
    """Return keys by id, in order: `2026:<32 characters or more>,2025:<…>`; only development may leave them out."""
    if development and not os.environ.get(name):
        return {"development": "development-only-" + "0" * 40}
    value = required(name, because="a comma-separated list of <id>:<32 random characters or more>; the first one signs")
    pairs = [part.strip().partition(":") for part in value.split(",")]
    found = {key_id: key for key_id, _, key in pairs}
    if any(not re.fullmatch(r"[\w.-]{1,20}", key_id) or len(key) < 32 for key_id, key in found.items()):
        raise ImproperlyConfigured(f"{name} must look like <id>:<key>,…: ids of 1 to 20 letters, keys of 32 or more.")
    if len(found) != len(pairs):
        raise ImproperlyConfigured(f"{name} names one id twice.")
    return found


def classes(name: str) -> dict[str, str]:
    """Return dotted paths of classes by the name each is to have: `parrot=ours.parrot.ParrotBackend,…`."""
    pairs = [part.strip().partition("=") for part in os.environ.get(name, "").split(",") if part.strip()]
    found = {short: path for short, _, path in pairs}
    if any(
        not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", short) or not re.fullmatch(r"\w+(\.\w+)+", path)
        for short, path in found.items()
    ):
        raise ImproperlyConfigured(f"{name} must look like name=package.module.Class,…: names of small letters.")
    return found


def url(name: str, schemes: tuple[str, ...], *, default: str | None = None, because: str = "") -> str:
    """Return a URL whose scheme is one of `schemes`; without `default` the variable must be set."""
    value = os.environ.get(name, "").strip()
    if not value:
        if default is None:
            raise ImproperlyConfigured(f"{name} is not set: {because}.")
        return default
    if urlsplit(value).scheme not in schemes:
        raise ImproperlyConfigured(f"{name} must start with {' or '.join(s + '://' for s in schemes)}.")
    return value


def integer(name: str, default: int, *, minimum: int = 0) -> int:
    """Return a whole number of at least `minimum`."""
    raw = os.environ.get(name, "").strip()
    if not raw:
        return default
    try:
        value = int(raw)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {raw!r}.") from None
    if value < minimum:
        raise ImproperlyConfigured(f"{name} must be at least {minimum}, not {value}.")
    return value


def boolean(name: str, default: bool) -> bool:
    """Return a yes or no."""
    raw = os.environ.get(name, "").strip().lower()
    if not raw:
        return default
    if raw in {"1", "true", "yes", "on"}:
        return True
    if raw in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} must be true or false, not {raw!r}.")


def one_of(name: str, choices: tuple[str, ...], default: str) -> str:
    """Return one of a few words."""
    value = os.environ.get(name, "").strip() or default
    if value not in choices:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}, not {value!r}.")
    return value


def names(name: str, default: list[str]) -> list[str]:
    """Return a comma-separated list."""
    raw = os.environ.get(name, "").strip()
    return [part.strip() for part in raw.split(",") if part.strip()] if raw else default


def networks(name: str) -> list[str]:
    """Return a comma-separated list of IP networks."""
    found = names(name, [])
    for network in found:
        try:
            ip_network(network)
        except ValueError as error:
            raise ImproperlyConfigured(f"{name} must hold networks such as 10.0.0.0/8: {error}.") from None
    return found


def directories(name: str, default: list[Path]) -> list[Path]:
    """Return colon-separated absolute directories."""
    raw = os.environ.get(name, "").strip()
    if not raw:
        return default
    paths = [Path(part) for part in raw.split(":") if part]
    for path in paths:
        if not path.is_absolute():
            raise ImproperlyConfigured(f"{name} must hold absolute paths, not {str(path)!r}.")
    return paths


def transcript_storage(name: str, default: Path, *, endpoint: str, region: str) -> dict[str, Any]:
    """Return Django's settings of a storage: a directory, or s3://<bucket>/<prefix>."""
    value = os.environ.get(name, "").strip()
    if not value.startswith("s3://"):
        directory = Path(value) if value else default
        if not directory.is_absolute():
            raise ImproperlyConfigured(f"{name} must be an absolute directory or s3://bucket/prefix, not {value!r}.")
        return {"BACKEND": "runners.storages.LocalTranscripts", "OPTIONS": {"location": str(directory)}}
    bucket, _, prefix = value.removeprefix("s3://").partition("/")
    if not bucket:
        raise ImproperlyConfigured(f"{name} names no bucket: it looks like s3://bucket/prefix.")
    asked = {"bucket_name": bucket, "location": prefix.strip("/"), "endpoint_url": endpoint, "region_name": region}
    options = {option: word for option, word in asked.items() if word}
    return {"BACKEND": "runners.storages.S3Transcripts", "OPTIONS": options}


def engine_socket(name: str) -> str:
    """Return the path of a container engine's unix socket, "none", or nothing."""
    value = os.environ.get(name, "").strip()
    if value == "none":
        return value
    path = value.removeprefix("unix://")
    if value and not Path(path).is_absolute():
        # Mounts and process figures are this machine's: an engine elsewhere could serve neither.
        raise ImproperlyConfigured(f"{name} must be a unix socket, as in unix:///run/podman/podman.sock, or none.")
    return path


def control_group(name: str) -> str:
    """Return the directory of a control group, "none", or nothing."""
    value = os.environ.get(name, "").strip()
    if value not in ("", "none") and not Path(value).is_absolute():
        raise ImproperlyConfigured(f"{name} must be `none` or the absolute directory of a control group: {value!r}.")
    return value


def docker_host(name: str) -> str:
    """Return the path in Docker's own variable where it is a unix socket; it may well be another program's affair."""
    value = os.environ.get(name, "").strip()
    return value.removeprefix("unix://") if value.startswith("unix:///") else ""


def database(value: str, *, pool_size: int) -> dict[str, Any]:
    """Return Django's settings for one PostgreSQL URL, with the driver's connection pool."""
    config: dict[str, Any] = dict(environ.Env.db_url_config(value))
    if not config.get("NAME"):
        raise ImproperlyConfigured(
            "DATABASE_URL names no database: it looks like postgres://user:password@host:5432/name."
        )
    config["ENGINE"] = "django_prometheus.db.backends.postgresql"
    # Persistent connections do not go with ASGI; the pool does (docs.djangoproject.com/en/5.2/ref/databases).
    config["CONN_MAX_AGE"] = 0
    config["OPTIONS"] = {
        **config.get("OPTIONS", {}),
        # While the server is away its pauses double until it gives up, by default after five minutes: whoever asks then
        # waits for minutes more when the server is long back. Who gave up begins anew at once, when it is asked.
        "pool": {"min_size": 1, "max_size": pool_size, "timeout": 10, "reconnect_timeout": 10},
        "application_name": "stratavore",
    }
    return config


def hostname() -> str:
    """Return this machine's short name, the default name of its node."""
    return socket.gethostname().split(".")[0].lower() or "node"
