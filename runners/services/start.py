"""Start a runner's process on this node. Runs in the node's worker."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from outbox import trace
from runners import acts
from runners.backends import get_backend
from runners.backends.base import Backend
from runners.exceptions import LaunchRefused, ProgramNotFound
from runners.models import Runner
from runners.runtimes import get_runtime, run_directory
from runners.runtimes.base import Runtime
from runners.runtimes.shim_client import ShimGone
from runners.services.containers import CONTAINER, NO_NETWORK, check_container
from runners.services.failover import fence
from runners.services.limits import limits_in_force, rlimits
from runners.services.resume import as_attempted
from runners.services.worktrees import working_directory
from runners.states import RunnerStatus
from runners.transitions import move

log = structlog.get_logger(__name__)

#: What every agent gets of the worker's own environment; a backend adds its own names (`passes_environment`).
PASSED_ENVIRONMENT = (
    "HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER",
    "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy",
    "NODE_EXTRA_CA_CERTS", "SSL_CERT_DIR", "SSL_CERT_FILE",
)  # fmt: skip


#: What of it a container gets: the rest tells of this machine, not of the image.
PASSED_INTO_CONTAINER = (
    "LANG", "LC_ALL", "TZ", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy",
)  # fmt: skip


def start_on_node(runner_id: UUID, generation: int) -> bool:
    """Start the process of one attempt; return False if there is nothing to start (any more).

    Safe to repeat: the run directory's lock lets exactly one shim start for an attempt. A launch that cannot work here
    (no such program, no such directory) ends the runner as failed.
    """
    return _start(_found([runner_id]).get(runner_id), runner_id, generation)


def start_all_on_node(attempts: Sequence[tuple[UUID, int, str]]) -> int:
    """Start the processes of several attempts, as start_on_node() does each; return how many there were to start.

    Of each, its runner, its generation and the traceparent of whoever asked for it. A fault in one keeps nobody else
    from starting: the reconciler sends that one again.
    """
    runners = _found([runner_id for runner_id, _, _ in attempts])
    started = 0
    for runner_id, generation, asked in attempts:
        try:
            with trace.following(asked and trace.next_hop(asked)):
                started += _start(runners.get(runner_id), runner_id, generation)
        except Exception:
            log.exception("start_failed", runner_id=str(runner_id), generation=generation)
    return started


def _found(ids: Sequence[UUID]) -> dict[UUID, Runner]:
    runners = Runner.objects.select_related("project", "node", "session").filter(pk__in=ids)
    return {runner.pk: runner for runner in runners}


def _start(runner: Runner | None, runner_id: UUID, generation: int) -> bool:
    if runner is None or runner.generation != generation or runner.status != RunnerStatus.STARTING:
        log.info("start_refused", runner_id=str(runner_id), generation=generation, status=runner and runner.status)
        if (present := Runner.objects.filter(pk=runner_id).first()) is not None:
            refuse_stale(present, generation, what="a start")
        return False
    try:
        spec = specification(runner)
    except LaunchRefused as refusal:
        move(
            runner.pk, RunnerStatus.FAILED, generation=generation, actor="system:node",
            allowed=frozenset({RunnerStatus.STARTING}), reason=refusal.message,
        )  # fmt: skip
        return False
    runtime = get_runtime(runner.runtime)
    _end_older(runner, runtime)
    runtime.start(run_directory(runner.pk, generation), spec)
    return True


def _end_older(runner: Runner, runtime: Runtime) -> None:
    """Kill earlier attempts that still live here: this node may have been lost, and be given its own runner again."""
    for generation in range(1, runner.generation):
        directory = run_directory(runner.pk, generation)
        if runtime.is_alive(directory):
            fence(runner.pk, generation, node=settings.NODE_NAME)
            with contextlib.suppress(ShimGone):  # it ended meanwhile
                runtime.kill(directory, reason="superseded")


@transaction.atomic
def refuse_stale(runner: Runner, generation: int, *, what: str) -> bool:
    """Say whether a command is of an older attempt than the runner's, and keep that it was refused."""
    if runner.generation <= generation:
        return False
    acts.stale(runner, generation, what=what)
    return True


def specification(runner: Runner) -> dict[str, Any]:
    """Return what the shim must know (spec.json). Raises LaunchRefused where it cannot work on this node."""
    backend = get_backend(runner.backend)
    command = backend.command(as_attempted(runner), _program(backend, runner))
    limits = limits_in_force(runner)
    return {
        "version": 1,
        "runner_id": str(runner.pk),
        "generation": runner.generation,
        **_container(runner),
        "argv": command.argv,
        "env": _environment(backend, command.env, runner),
        "cwd": working_directory(runner),
        "tty": command.tty,
        "columns": 120,
        "rows": 32,
        "stdin": command.stdin,
        "input_until": dict(command.input_until) if command.input_until else None,
        "follow": asdict(command.follow) if command.follow else None,
        "grace_seconds": runner.grace_seconds,
        "limits": limits,
        "rlimits": rlimits(limits),
        "nudge": str(nudge_socket()),
        "control_group": settings.CONTROL_GROUP,
    }


def _program(backend: Backend, runner: Runner) -> str:
    """Return the program's path here; in a container its name, which the image's PATH resolves."""
    wanted = backend.program or (runner.argv[0] if runner.argv else "")
    program = wanted if runner.runtime == CONTAINER else backend.find_for(runner)
    if program is None:
        raise ProgramNotFound(f"There is no program {wanted!r} on this node.", program=wanted)
    return program


def _container(runner: Runner) -> dict[str, Any]:
    """Return what the spec says of the container; nothing for a process."""
    if runner.runtime != CONTAINER:
        return {}
    # This node's settings count, which may be stricter than those where it was launched.
    check_container(runner)
    container = {
        "image": runner.image,
        "network": runner.network or NO_NETWORK,
        "user": runner.container_user,
        "memory_mb": settings.CONTAINER_MEMORY_MB,
        "processes": settings.CONTAINER_PROCESSES,
    }
    return {"runtime": CONTAINER, "container": container}


def nudge_socket() -> Path:
    """Return the datagram socket on which shims tell this node's agent that there is something to read."""
    return Path(settings.RUNS_DIR) / "nodeagent.sock"


def _environment(backend: Backend, own: Mapping[str, str], runner: Runner) -> dict[str, str]:
    contained = runner.runtime == CONTAINER
    wanted = (*(PASSED_INTO_CONTAINER if contained else PASSED_ENVIRONMENT), *backend.passes_environment)
    passed = {name: os.environ[name] for name in wanted if name in os.environ}
    # The image knows no home for a user of this machine.
    home = {"HOME": "/tmp"} if contained else {}  # noqa: S108 - the container's own
    return {"TERM": "xterm-256color", **home, **passed, **own, **runner.environment}
