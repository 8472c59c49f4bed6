import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runners.runtimes.process import ProcessRuntime
from runners.runtimes.zygote import Zygote, start_zygote
from tests.runners.shim.attempt import Attempt


@pytest.fixture(scope="session")
def zygote_socket() -> Iterator[Path]:
    """A zygote that serves the tests of one process."""
    with tempfile.TemporaryDirectory(prefix="zygote-") as directory:
        path = Path(directory) / "zygote.sock"
        zygote: Zygote = start_zygote(path)
        yield path
        zygote.close()


@pytest.fixture(params=["forked", "executed"])
def runtime(request: pytest.FixtureRequest, zygote_socket: Path) -> ProcessRuntime:
    """Both ways a shim comes to life: forked by the zygote, and executed where there is none."""
    return ProcessRuntime(zygote_socket if request.param == "forked" else zygote_socket.with_name("nobody.sock"))


@pytest.fixture
def new_attempt(tmp_path: Path, zygote_socket: Path) -> Iterator[Callable[..., Attempt]]:
    """Makes attempts, forked by the zygote unless told otherwise, and ends those that still run."""
    attempts: list[Attempt] = []

    def make(runtime: ProcessRuntime | None = None, runs: Path = tmp_path / "runs") -> Attempt:
        attempts.append(Attempt(runs, runtime or ProcessRuntime(zygote_socket)))
        return attempts[-1]

    yield make
    for attempt in attempts:
        attempt.end()


@pytest.fixture
def attempt(new_attempt: Callable[..., Attempt]) -> Attempt:
    return new_attempt()


@pytest.fixture
def attempt_either_way(new_attempt: Callable[..., Attempt], runtime: ProcessRuntime) -> Attempt:
    """An attempt whose test runs twice: with a forked and with an executed shim."""
    return new_attempt(runtime)
