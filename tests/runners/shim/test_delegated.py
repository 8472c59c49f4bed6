"""Limits held by a kernel with all controllers of cgroup v2, as root and as a user to whom a group was delegated."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stratavore_site.embedded.debian import locked
from tests import servers
from tests.conftest import not_tested
from tests.guest import PACKAGES, Guest, missing

pytestmark = pytest.mark.soak
PROGRAM = Path(__file__).with_name("delegated.py")
USERS = (0, 1000)


@pytest.fixture(scope="module")
def seen() -> dict[int, dict[str, Any]]:
    """What the program saw, by user."""
    what, remedy = "limits held by cgroup v2", f"Run it as root on Debian: it installs {' '.join(PACKAGES)}."
    guest = Guest(servers.CACHE / "guest")
    with locked(servers.CACHE / "guest.lock"):
        if os.geteuid() or not shutil.which("apt-get"):
            not_tested(what, "A machine of its own cannot be made here", remedy)
        try:
            if missing():
                install = ["apt-get", "-qq", "--yes", "--no-install-recommends", "install", *PACKAGES]
                subprocess.run(install, check=True, capture_output=True)
            if not guest.is_prepared:
                guest.prepare()
        except subprocess.CalledProcessError as error:
            not_tested(what, f"{error.cmd[0]} failed: {error.stderr}", remedy)
        # The system's own: another user may read it.
        python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
        commands = [f"{python} -I -S {PROGRAM} {user} {servers.PROJECT}" for user in USERS]
        printed = guest.run("export PATH=/usr/sbin:/usr/bin:/sbin:/bin\n" + "\n".join(commands))
    results = [line.partition("RESULT ")[2] for line in printed.splitlines() if "RESULT " in line]
    assert len(results) == len(USERS), printed[-3000:]
    return dict(zip(USERS, map(json.loads, results), strict=True))


@pytest.mark.parametrize("user", USERS)
def test_the_delegated_group_is_found_with_its_controllers(seen: dict[int, dict[str, Any]], user: int) -> None:
    means = seen[user]["means"]
    assert means["path"].endswith("/system.slice/stratavore-node-agent.service")
    assert (means["controllers"], means["kill"]) == (["memory", "pids"], True)
    assert seen[user]["left"] == ["node"], "each group went with its runner"


@pytest.mark.parametrize("user", USERS)
def test_the_kernel_holds_what_it_can(seen: dict[int, dict[str, Any]], user: int) -> None:
    told = seen[user]
    assert (told["eaters"]["reason"], told["eaters"]["signal"]) == ("memory", 9)
    assert told["eaters"]["stop_reason"] == "the kernel killed it for want of memory"
    assert (told["cache"]["reason"], told["cache"]["lines"]) == ("exited", ["whole"]), "page cache is given back first"
    assert (told["bomb"]["reason"], told["bomb"]["signal"]) == ("processes", 9)
    assert told["bomb"]["stop_reason"] == "forks were refused, of 4"
    assert told["spinner"]["reason"] == "cpu"
    assert (told["calm"]["reason"], told["calm"]["code"]) == ("exited", 3)
    assert told["calm"]["lines"][0].endswith("/stratavore-00000000000000000000000000000004.1")
