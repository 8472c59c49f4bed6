"""The embedded servers: whom they run as, who gets in, and what a broken or crashed one leads to."""

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.conf import settings
from kombu import Connection
from redis import Redis
from redis.exceptions import AuthenticationError

from stratavore_site.embedded import privileges
from stratavore_site.embedded.errors import CannotStart
from stratavore_site.embedded.postgres import Postgres
from stratavore_site.embedded.processes import free_port, is_free, remembered_port, wait_until
from stratavore_site.embedded.valkey import Valkey


def fresh_directory() -> Path:
    """Make a directory that root's servers can reach: pytest's own are closed to them."""
    directory = Path(settings.STATE_DIR) / f"embedded-{secrets.token_hex(3)}"
    directory.mkdir(mode=0o711)
    return directory


@pytest.fixture
def directory() -> Path:
    return fresh_directory()


@pytest.fixture(scope="module")
def cluster() -> Postgres:
    return Postgres(fresh_directory() / "postgres")


@pytest.fixture
def postgres(cluster: Postgres) -> Iterator[Postgres]:
    """A running PostgreSQL; its cluster is made once for all tests of this module."""
    cluster.start()
    yield cluster
    cluster.stop(immediately=True)


@pytest.fixture
def valkey(directory: Path) -> Iterator[Valkey]:
    server = Valkey(directory / "valkey")
    server.start()
    yield server
    server.stop()


def listeners(process: psutil.Process) -> set[str]:
    return {listener.laddr.ip for listener in process.net_connections() if listener.status == psutil.CONN_LISTEN}


def test_postgresql_keeps_out_whoever_has_no_password_and_listens_on_loopback_only(postgres: Postgres) -> None:
    assert postgres.process is not None
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(postgres.url.replace(postgres.password, "guess"))
    assert listeners(psutil.Process(postgres.process.pid)) == {"127.0.0.1"}
    assert (postgres.directory / "password").stat().st_mode & 0o777 == 0o600


def test_no_server_runs_as_root(postgres: Postgres, valkey: Valkey) -> None:
    for server in (postgres, valkey):
        assert server.process is not None
        assert psutil.Process(server.process.pid).uids().effective != 0


def test_what_was_committed_survives_a_crash_of_postgresql(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
    port = postgres.port
    assert postgres.process is not None
    postgres.process.send_signal(signal.SIGKILL)
    postgres.process.wait()

    postgres.start()

    assert postgres.port == port
    with psycopg.connect(postgres.url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)


def test_a_pid_file_that_names_a_living_stranger_does_not_stop_postgresql(postgres: Postgres) -> None:
    postgres.stop(immediately=True)
    (postgres.data / "postmaster.pid").write_text(f"{os.getpid()}\n{postgres.data}\n0\n1\n\n127.0.0.1\n0 0\nready\n")
    postgres.start()
    assert postgres.running


def test_a_port_that_was_taken_meanwhile_is_left_to_its_taker(tmp_path: Path) -> None:
    file = tmp_path / "port"
    with socket.socket() as taker:
        taker.bind(("127.0.0.1", 0))
        taker.listen()
        taken = taker.getsockname()[1]
        file.write_text(str(taken))
        assert remembered_port(file) != taken
    chosen = int(file.read_text())
    assert is_free(chosen)
    assert remembered_port(file) == chosen


def test_a_directory_that_is_no_database_is_refused_in_one_sentence(directory: Path) -> None:
    (directory / "postgres" / "data").mkdir(parents=True)
    with pytest.raises(CannotStart, match=r"holds no PostgreSQL database .* move it away"):
        Postgres(directory / "postgres").start()


def test_a_database_of_another_major_version_is_refused_in_one_sentence(directory: Path) -> None:
    data = directory / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("15\n")
    with pytest.raises(CannotStart, match="is of PostgreSQL 15, not 18"):
        Postgres(directory / "postgres").start()


def test_a_damagedcluster_is_told_in_postgresqls_own_words(cluster: Postgres) -> None:
    control = cluster.data / "global" / "pg_control"
    if not cluster.data.exists():
        cluster.start()
        cluster.stop()
    kept = control.read_bytes()
    control.write_bytes(b"")
    try:
        with pytest.raises(CannotStart, match=r"PostgreSQL did not start: .*pg_control.* Its log is"):
            cluster.start()
    finally:
        control.write_bytes(kept)


def test_valkey_wants_its_password_and_keeps_what_it_was_given(valkey: Valkey) -> None:
    with Redis.from_url(valkey.url) as client:
        client.set("kept", "7")
    with Redis(port=valkey.port) as stranger, pytest.raises(AuthenticationError):
        stranger.get("kept")
    valkey.stop()
    valkey.start()
    with Redis.from_url(valkey.url) as client:
        assert client.get("kept") == b"7"


def test_celerys_transport_and_the_channel_layer_take_valkeys_address(valkey: Valkey) -> None:
    with Connection(valkey.url) as broker, broker.SimpleQueue("q") as queue:
        queue.put({"n": 1})
        assert queue.get(timeout=5).payload == {"n": 1}

    async def send_to_a_group() -> object:
        layer = RedisPubSubChannelLayer(hosts=[valkey.url])
        channel = await layer.new_channel()
        await layer.group_add("all", channel)
        await layer.group_send("all", {"type": "hello"})
        message = await asyncio.wait_for(layer.receive(channel), 5)
        await layer.flush()
        return message

    assert asyncio.run(send_to_a_group()) == {"type": "hello"}


def test_servers_end_when_their_supervisor_is_killed(directory: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from stratavore_site.embedded.valkey import Valkey\n"
        "v = Valkey(Path(sys.argv[1])); v.start(); print(v.process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(directory)], stdout=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout is not None
        server = psutil.Process(int(supervisor.stdout.readline()))
        supervisor.kill()
    assert wait_until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE, seconds=10)


def test_a_directory_that_the_servers_user_cannot_reach_is_known_for_one(directory: Path) -> None:
    stranger = privileges.Identity(uid=54321, gid=54321)
    inner = directory / "closed" / "inner"
    inner.mkdir(parents=True)
    (directory / "closed").chmod(0o700)
    assert not privileges.reachable(inner, stranger)
    (directory / "closed").chmod(0o711)
    assert privileges.reachable(inner, stranger)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's servers run as another user")
def test_roots_closed_directories_stay_closed_and_the_servers_move_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    outside = Path("/tmp") / f"sv-outside-{free_port()}"
    monkeypatch.setattr(privileges, "OUTSIDE", outside)
    server = Valkey(closed / "valkey", throwaway=True)
    try:
        server.start()
        assert server.directory.is_relative_to(outside)
        assert closed.stat().st_mode & 0o777 == 0o700
    finally:
        server.stop(immediately=True)
        subprocess.run(["rm", "-rf", str(outside)], check=True)
