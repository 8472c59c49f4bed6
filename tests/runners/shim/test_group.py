"""The control group of an attempt: with this machine's cgroup v2 where there is one, and by its files where not."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runners.shim import group as groups
from runners.shim import identity
from runners.shim.group import Group
from tests.conftest import not_tested
from tests.runners.shim.attempt import Attempt, wait_for
from tests.runners.shim.test_ending import DAEMON, EXEC_BARE, IGNORE, is_gone
from tests.runners.shim.test_surviving import lose_the_shim


@pytest.fixture
def here() -> Iterator[str]:
    """A group of this machine below which a test may make others."""
    parent = groups.place("")
    if parent is None or not groups.means("").get("kill"):
        not_tested(
            "control groups with this machine's kernel",
            "There is no cgroup v2 here that may be written to",
            "Run the tests as root, or in a delegated group, on Linux 5.14 or newer.",
        )
    path = f"{parent}/stratavore-test-{os.getpid()}"
    Path(path).mkdir()
    yield path
    Group(path).end(5)


def children(path: str) -> list[str]:
    return [entry.name for entry in os.scandir(path) if entry.is_dir()]


def test_all_that_comes_of_an_agent_is_in_its_group_from_the_first_moment(attempt: Attempt, here: str) -> None:
    attempt.shell("cat /proc/self/cgroup; setsid sleep 60 & echo ready; exec sleep 60", control_group=here)
    attempt.await_output("ready")
    group = Group(f"{here}/stratavore-{attempt.directory.name}")
    assert attempt.identities["control_group"] == group.path
    (line,) = [line for line in attempt.lines() if line.startswith("0::")]
    assert line.endswith(f"/stratavore-{attempt.directory.name}")
    below = identity.descendants(attempt.shim_pid, identity.table())
    assert sorted(group.pids()) == sorted(process.pid for process in below)
    assert attempt.shim_pid not in group.pids(), "no kill reaches the shim"

    attempt.stop(0)

    attempt.exit()
    assert children(here) == [], "the group went with it"


def test_whoever_hides_from_everything_else_is_killed_with_the_group(attempt: Attempt, here: str) -> None:
    # It is put into the group by hand, so it is neither below the shim nor marked.
    attempt.shell("echo ready; exec sleep 60", control_group=here)
    attempt.await_output("ready")
    pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
    try:
        Path(here, f"stratavore-{attempt.directory.name}", "cgroup.procs").write_text(str(pid))

        attempt.stop(0)

        attempt.exit()
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
        assert children(here) == []
    finally:
        if not is_gone(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("clear", ["", EXEC_BARE])
def test_daemons_end_with_their_agent(attempt: Attempt, here: str, clear: str) -> None:
    code = DAEMON.format(signals=IGNORE, clear=clear, after="sys.stdin.readline(); os._exit(9)")
    attempt.python(code, stdin="\n", control_group=here)

    assert attempt.exit(5)["code"] == 9
    assert children(here) == []


def test_groups_that_the_agent_made_below_go_too(attempt: Attempt, here: str) -> None:
    own = f"{here}/stratavore-{attempt.directory.name}"
    script = f"mkdir -p {own}/a/b; sleep 60 & echo $! > {own}/a/b/cgroup.procs; echo ready; exec sleep 60"
    attempt.shell(script, control_group=here)
    attempt.await_output("ready")

    attempt.stop(0.2)

    attempt.exit()
    assert children(here) == []


def test_what_a_dead_shim_left_in_the_group_is_ended(attempt: Attempt, here: str) -> None:
    attempt.python(DAEMON.format(signals=IGNORE, clear=EXEC_BARE, after="time.sleep(60)"), control_group=here)
    attempt.await_output("ready")
    group = Group(attempt.identities["control_group"])
    assert len(group.pids()) == 2
    lose_the_shim(attempt)

    assert attempt.runtime.record_lost(attempt.directory)

    assert attempt.exit()["reason"] == "lost"
    assert children(here) == []


def test_cpu_time_is_the_kernels_count_of_all_that_ran(attempt: Attempt, here: str) -> None:
    # Children that nobody waits for take their CPU time along: only their group still knows it.
    spin = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"
    attempt.python(
        "import os, signal, sys, time\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        f"while True:\n    if os.fork() == 0: os.execv(sys.executable, [sys.executable, '-I', '-S', '-c', {spin!r}])\n"
        "    time.sleep(0.5)\n",
        limits={"cpu_seconds": 2}, grace_seconds=0, control_group=here,
    )  # fmt: skip
    record = attempt.exit(60)
    assert record["reason"] == "cpu"


def test_pause_and_stop_are_the_same_in_a_group(attempt: Attempt, here: str) -> None:
    attempt.shell("trap 'exit 7' INT; echo ready; while :; do sleep 0.02; done", control_group=here)
    attempt.await_output("ready")
    attempt.client.pause()
    # D: a shell whose new child was stopped before its exec (vfork).
    wait_for(lambda: (p := identity.look(attempt.agent_pid)) and p.state in "TD", "it stands still")

    attempt.stop(10)

    assert attempt.exit()["code"] == 7


def test_a_program_that_cannot_be_executed_leaves_no_group(attempt: Attempt, here: str) -> None:
    attempt.start(["/no/such/program"], control_group=here)

    assert attempt.exit()["code"] == 127
    assert children(here) == []


@pytest.mark.parametrize("setting", ["none", "/nowhere/at/all"])
def test_without_a_group_everything_goes_on_as_ever(attempt: Attempt, setting: str) -> None:
    attempt.shell("sleep 60 & echo ready; exec sleep 60", control_group=setting)
    attempt.await_output("ready")
    assert attempt.identities["control_group"] is None

    attempt.stop(0)

    assert attempt.exit()["reason"] == "stopped"


def test_empty_groups_that_somebody_left_are_swept_and_no_others(attempt: Attempt, here: str) -> None:
    attempt.shell("echo ready; exec sleep 60", control_group=here)
    attempt.await_output("ready")
    Path(here, "stratavore-left", "below").mkdir(parents=True)
    Path(here, "of-somebody-else").mkdir()
    assert groups.sweep(here) == [], "it may be about to be used"
    assert groups.sweep(here, older_than_seconds=-1) == ["stratavore-left"]
    assert sorted(children(here)) == ["of-somebody-else", f"stratavore-{attempt.directory.name}"]


# --- By the files: what a kernel with all controllers keeps in a group's directory ---


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory that stands for a delegated group with all controllers; nothing is enforced in it."""
    for name, text in {
        "cgroup.procs": "", "cgroup.controllers": "cpuset cpu io memory pids\n", "cgroup.subtree_control": "",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    made = tmp_path / "stratavore-x.1"
    made.mkdir()
    for name in ("memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cgroup.kill"):
        (made / name).write_text("")
    return tmp_path


def test_limits_are_written_as_the_kernel_wants_them(files: Path) -> None:
    group = Group.make("x.1", str(files), {"memory_mb": 100, "processes": 20, "wall_seconds": 5})
    assert group is not None
    written = {path.name: path.read_text() for path in Path(group.path).iterdir()}
    assert written == {
        "memory.max": str(100 << 20), "memory.swap.max": "0", "memory.oom.group": "1",
        "pids.max": str(20 * groups.TASKS_PER_PROCESS), "cgroup.kill": "",
    }  # fmt: skip
    assert group.holds == {"memory_mb"}
    # A controller a write, as one that is refused must not keep the others; a plain file keeps the last.
    assert (files / "cgroup.subtree_control").read_text() == "+pids"


def test_without_its_controller_memory_stays_the_watchs(files: Path) -> None:
    (files / "stratavore-x.1" / "memory.max").unlink()
    group = Group.make("x.1", str(files), {"memory_mb": 100})
    assert group is not None
    assert group.holds == frozenset()


def test_the_kernels_counts_are_read(files: Path) -> None:
    group = Group(str(files / "stratavore-x.1"))
    assert (group.cpu_seconds, group.memory_kills, group.refused_forks, group.is_populated) == (0, 0, 0, False)
    for name, text in {
        "cpu.stat": "usage_usec 2500000\nuser_usec 1\n", "memory.events": "low 0\noom 3\noom_kill 2\n",
        "pids.events": "max 4\n", "cgroup.events": "populated 1\nfrozen 0\n",
    }.items():  # fmt: skip
        Path(group.path, name).write_text(text)
    assert (group.cpu_seconds, group.memory_kills, group.refused_forks, group.is_populated) == (2.5, 2, 4, True)


MOUNTS = (
    "25 1 0:23 / /proc rw - proc proc rw\n31 1 0:26 {root} {mount} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
)


@pytest.mark.parametrize(
    ("groups_file", "root", "mount", "found"),
    [
        ("0::/a.slice/b.service/node\n", "/", "/sys/fs/cgroup", "/sys/fs/cgroup/a.slice/b.service/node"),
        ("4:memory:/x\n0::/\n", "/", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified"),
        ("0::/docker/1/node\n", "/docker/1", "/sys/fs/cgroup", "/sys/fs/cgroup/node"),
        ("0::/elsewhere\n", "/docker/1", "/sys/fs/cgroup", None),
        ("0::/../outside\n", "/", "/sys/fs/cgroup", None),
        ("0::/gone (deleted)\n", "/", "/sys/fs/cgroup", None),
        ("4:memory:/x\n", "/", "/sys/fs/cgroup", None),
    ],
)
def test_our_own_group_is_found(tmp_path: Path, groups_file: str, root: str, mount: str, found: str | None) -> None:
    (tmp_path / "cgroup").write_text(groups_file)
    (tmp_path / "mountinfo").write_text(MOUNTS.format(root=root, mount=mount))
    own = groups.own_group(str(tmp_path / "cgroup"), str(tmp_path / "mountinfo"))
    assert (own and own[0]) == found


def test_a_machine_with_v1_only_has_no_group(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("0::/\n")
    (tmp_path / "mountinfo").write_text("30 1 0:25 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n")
    assert groups.own_group(str(tmp_path / "cgroup"), str(tmp_path / "mountinfo")) is None


def test_a_fork_into_a_group_that_is_gone_still_forks(tmp_path: Path) -> None:
    pid = Group(str(tmp_path / "nowhere")).fork()
    if pid == 0:
        os._exit(5)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5


def test_a_populated_group_that_cannot_be_killed_is_given_up(files: Path) -> None:
    path = files / "stratavore-x.1"
    (path / "cgroup.events").write_text("populated 1\n")
    began = time.monotonic()
    Group(str(path)).end(0.05)
    assert time.monotonic() - began >= 0.05
    assert path.exists()
