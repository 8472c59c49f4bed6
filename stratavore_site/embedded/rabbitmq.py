"""A private RabbitMQ: Debian's, installed or merely unpacked, as a node of its own beside any other on the machine."""

import base64
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from stratavore_site.embedded import debian
from stratavore_site.embedded.errors import CannotStart
from stratavore_site.embedded.processes import (
    LOOPBACK,
    answers,
    end,
    free_port,
    log_since,
    remembered_port,
    remembered_secret,
    size,
    spawn,
    wait_until,
    write_private,
)

USER = "stratavore"
VHOST = "/"
INSTALLED = Path("/usr/lib/rabbitmq")
ERLANG = "usr/lib/erlang"
#: Of AMQP 0-9-1: what a client says first; a server that understands answers with a method frame, type 1.
GREETING = b"AMQP\x00\x00\x09\x01"
CONFIGURATION = """\
listeners.tcp.1 = {host}:{port}
load_definitions = {definitions}
# The default refuses to publish below 50 MB of free disk; said here so that it stays so.
disk_free_limit.absolute = 50MB
# RabbitMQ 4's default; older ones take 128 MiB, and would hide what a newer one refuses.
max_message_size = 16777216
log.console = true
log.console.level = warning
log.file = false
"""


def server_script(cache: Path) -> Path:
    """Return RabbitMQ's start script: the installed one, else Debian's, unpacked below `cache`. Raises CannotStart."""
    return installed_script() or unpacked_script(cache)


def installed_script() -> Path | None:
    """Return the start script of an installed RabbitMQ, not Debian's wrapper, which wants to be root or rabbitmq."""
    debian_s = sorted(INSTALLED.glob("lib/rabbitmq_server-*/sbin/rabbitmq-server"))
    if debian_s:
        return debian_s[-1] if shutil.which("erl") else None
    found = shutil.which("rabbitmq-server")
    return Path(found).resolve() if found else None


def unpacked_script(cache: Path) -> Path:
    """Return the start script of Debian's RabbitMQ, unpacked below `cache` (34 MB, once). Raises CannotStart."""
    root = debian.fetch("rabbitmq-server", cache / "rabbitmq", own=("erlang-", "rabbitmq-"), finish=_mend_erlang)
    return sorted(root.glob("usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"))[-1]


def _mend_erlang(root: Path) -> None:
    """Have `erl` look for its runtime where it lies itself: Debian's knows /usr/lib/erlang only."""
    erl = root / ERLANG / "bin" / "erl"
    here = '"$(dirname "$(dirname "$(readlink -f "$0")")")"'
    erl.write_text(erl.read_text().replace(f"ROOTDIR=/{ERLANG}\n", f"ROOTDIR={here}\n"))


class RabbitMQ:
    """One node with its data in `directory`, with further virtual hosts beside "/"."""

    name = "RabbitMQ"

    def __init__(
        self, directory: Path, *, cache: Path, vhosts: tuple[str, ...] = (), script: Path | None = None
    ) -> None:
        self.directory = directory
        self.cache = cache
        self.script = script
        self.vhosts = (VHOST, *vhosts)
        self.log = directory / "server.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.epmd: subprocess.Popen[bytes] | None = None
        self.port = 0
        self._log_offset = 0

    def start(self) -> str:
        """Start the node and return its URL, after 4 to 8 s, the first time after a download. Raises CannotStart."""
        self.launch()
        return self.wait_ready()

    def launch(self) -> str:
        """Start the node without waiting for it; return what its URL will be."""
        script = self.script or server_script(self.cache)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.password = remembered_secret(self.directory / "password", lambda: secrets.token_urlsafe(24))
        self.port = remembered_port(self.directory / "port", patience_seconds=5)
        self._configure()
        env = self._environment(script)
        self._log_offset = size(self.log)
        # Ours and in the foreground: the one that Erlang starts is a daemon that stays for ever.
        epmd = shutil.which("epmd", path=env["PATH"])
        if epmd is None:
            raise CannotStart("RabbitMQ needs Erlang's epmd, which is not on PATH.")
        self.epmd = spawn(
            [epmd, "-address", LOOPBACK, "-port", env["ERL_EPMD_PORT"]],
            log=self.log,
            death_signal=signal.SIGKILL,
            env=env,
        )
        if not wait_until(lambda: answers(int(env["ERL_EPMD_PORT"])), seconds=10):
            raise CannotStart(f"Erlang's epmd did not start. Its log is {self.log}")
        self.process = spawn([script], log=self.log, death_signal=signal.SIGKILL, env=env, cwd=self.directory)
        return self.url()

    def wait_ready(self) -> str:
        """Wait until the node speaks AMQP; return its URL. Raises CannotStart."""
        wait_until(lambda: speaks_amqp(self.port) or not self.running)
        if not (self.running and speaks_amqp(self.port)):
            self.kill()
            lines = log_since(self.log, self._log_offset).strip().splitlines()
            raise CannotStart(
                f"RabbitMQ did not start: {lines[-1] if lines else 'it ended without a word'} (log: {self.log})"
            )
        return self.url()

    def stop(self) -> None:
        """Shut the node down cleanly; its queues are there again at the next start."""
        self._end(signal.SIGTERM, grace_seconds=30)

    def kill(self) -> None:
        """End the node as a crash would: at once."""
        self._end(signal.SIGKILL, grace_seconds=10)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def url(self, vhost: str = VHOST) -> str:
        """Return the address of one virtual host."""
        path = "%2F" if vhost == VHOST else vhost
        return f"amqp://{USER}:{self.password}@{LOOPBACK}:{self.port}/{path}"

    def _end(self, how: int, *, grace_seconds: float) -> None:
        for process, first in ((self.process, how), (self.epmd, signal.SIGKILL)):
            if process:
                end(process, first, grace_seconds=grace_seconds)

    def _configure(self) -> None:
        definitions = self.directory / "definitions.json"
        write_private(definitions, json.dumps(self._definitions()))
        text = CONFIGURATION.format(host=LOOPBACK, port=self.port, definitions=definitions)
        write_private(self.directory / "rabbitmq.conf", text)
        (self.directory / "enabled_plugins").write_text("[].\n")

    def _definitions(self) -> dict[str, object]:
        salt = secrets.token_bytes(4)
        hashed = base64.b64encode(salt + hashlib.sha256(salt + self.password.encode()).digest()).decode()
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        return {
            "users": [{"name": USER, "password_hash": hashed, "tags": "administrator"}],
            "vhosts": [{"name": vhost} for vhost in self.vhosts],
            "permissions": [{"user": USER, "vhost": vhost, **everything} for vhost in self.vhosts],
        }

    def _environment(self, script: Path) -> dict[str, str]:
        """Return the variables that keep this node apart: every name, port and directory is its own."""
        home = self.directory
        data = home / "data"
        data.mkdir(exist_ok=True)
        # The node's name is part of its data: it must be the same at the next start.
        node = remembered_secret(home / "node", lambda: f"stratavore-{secrets.token_hex(4)}@localhost")
        env = {
            "HOME": str(home),  # .erlang.cookie lives there
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "RABBITMQ_NODENAME": node,
            "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_MNESIA_BASE": str(data),
            "RABBITMQ_LOG_BASE": str(home),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            # The script then becomes the server itself; without it a shell stands between us and the server.
            "RUNNING_UNDER_SYSTEMD": "true",
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_CRASH_DUMP": "/dev/null",
        }
        env.update(_unpacked_paths(script, env["PATH"]))
        return env


def _unpacked_paths(script: Path, path: str) -> dict[str, str]:
    """Return where Erlang and its libraries lie, if RabbitMQ was unpacked and not installed."""
    root = next((parent for parent in script.parents if (parent / ERLANG / "bin" / "erl").exists()), None)
    if root is None or root == Path("/"):
        return {}
    erlang = root / ERLANG
    programs = [erlang / "bin", *erlang.glob("erts-*/bin"), root / "usr/bin", root / "bin"]
    libraries = [
        str(directory) for pattern in ("usr/lib/*-linux-*", "lib/*-linux-*") for directory in root.glob(pattern)
    ]
    return {
        "PATH": ":".join([*map(str, programs), path]),
        "LD_LIBRARY_PATH": ":".join(libraries),
    }


def speaks_amqp(port: int, host: str = LOOPBACK) -> bool:
    """Return whether an AMQP 0-9-1 server answers on `port`."""
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            connection.settimeout(2)
            connection.sendall(GREETING)
            return connection.recv(1) == b"\x01"
    except OSError:
        return False
