"""Which servers, and what the settings become: chosen before Django reads them."""

import os
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path

from stratavore_site.embedded.errors import CannotStart
from stratavore_site.embedded.postgres import Postgres
from stratavore_site.embedded.processes import write_private
from stratavore_site.embedded.valkey import Valkey

PROJECT = Path(__file__).resolve().parents[2]
Server = Postgres | Valkey
HEADER = "# Written by `manage.py up`, read by stratavore_site/environment.py: other commands find the servers by it.\n"
#: Settings besides STRATAVORE_* that are carried into the file when the caller set them.
CARRIED = ("ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "LOG_LEVEL", "DATABASE_POOL_SIZE")


def state_path() -> Path:
    """Return the directory of everything that `up` keeps."""
    return Path(os.environ.get("STRATAVORE_STATE_DIR") or PROJECT / ".stratavore").absolute()


def env_file(state: Path) -> Path:
    """Return the file that the settings are written to."""
    return Path(os.environ.get("STRATAVORE_ENV_FILE") or state / "env")


def servers(state: Path) -> list[Server]:
    """Return the servers that must be started: those whose address the caller did not give."""
    chosen: list[Server] = []
    if not os.environ.get("DATABASE_URL"):
        chosen.append(Postgres(state / "postgres"))
    if not os.environ.get("REDIS_URL"):
        chosen.append(Valkey(state / "valkey"))
    return chosen


def launch(chosen: list[Server]) -> dict[str, str]:
    """Start the servers without waiting for them; return the addresses of all that will be used."""
    addresses = {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL", "AMQP_URL") if os.environ.get(name)}
    for server in chosen:
        addresses["DATABASE_URL" if isinstance(server, Postgres) else "REDIS_URL"] = server.launch()
    return addresses


def settings(state: Path, addresses: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of the settings: what the caller set, and a choice for the rest."""
    kept = read(env_file(state))
    values = {
        "SECRET_KEY": os.environ.get("SECRET_KEY") or kept.get("SECRET_KEY") or secrets.token_urlsafe(50),
        # Of its own: the secret key may be changed when it leaked; this one must go on verifying what it signed.
        "AUDIT_KEYS": os.environ.get("AUDIT_KEYS") or kept.get("AUDIT_KEYS") or f"1:{secrets.token_urlsafe(50)}",
        "DEBUG": os.environ.get("DEBUG") or "false",
        "LOG_FORMAT": os.environ.get("LOG_FORMAT") or "console",
        "STRATAVORE_STATE_DIR": str(state),
        "STRATAVORE_RUNS_DIR": str(state / "runs"),
        "STRATAVORE_WORKSPACE_ROOTS": str(state / "workspaces"),
        "STRATAVORE_NODE": node_name(),
        **addresses,
    }
    given = {name: os.environ[name] for name in os.environ if name.startswith("STRATAVORE_") or name in CARRIED}
    given.pop("STRATAVORE_ENV_FILE", None)
    return {**values, **{name: value for name, value in given.items() if value}}


def node_name() -> str:
    """Return this machine's short name as a node may have it: letters, digits, hyphens."""
    short = socket.gethostname().split(".")[0].lower()
    return "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in short).strip("-") or "node"


def write(file: Path, values: Mapping[str, str]) -> None:
    """Write the settings down, for us alone to read."""
    for name, value in values.items():
        if "\n" in value:
            raise CannotStart(f"{name} holds a line break, which {file} cannot keep.")
    write_private(file, HEADER + "".join(f"{name}={value}\n" for name, value in sorted(values.items())))


def read(file: Path) -> dict[str, str]:
    """Return what an earlier `up` wrote down; nothing at the first."""
    if not file.is_file():
        return {}
    lines = [line.split("=", 1) for line in file.read_text().splitlines() if "=" in line and not line.startswith("#")]
    return dict(lines)
