"""The container runtime: the same shim, around a container that an engine runs.

The shim's child is an attachment (runners/shim/attach.py), which stands for the processes in the container. Containers
are found again by name and labels, so whoever comes after a crash ends and removes them.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

from runners.runtimes.engine import (
    GENERATION_LABEL,
    RUNNER_LABEL,
    RUNS_LABEL,
    Engine,
    EngineError,
    NewContainer,
)
from runners.runtimes.process import ProcessRuntime
from runners.runtimes.shim_client import ShimRefused
from runners.runtimes.zygote import shim_command
from runners.shim import rundir

log = structlog.get_logger(__name__)

#: Limits that the engine keeps too, by the container's control groups. The tighter of launch and node counts.
HELD_BY_ENGINE = ("memory_mb", "processes")

#: Where the report pipe is inside.
REPORT_INSIDE = "/run/stratavore-report"


class ContainerRuntime(ProcessRuntime):
    """Runs attempts in containers of this node's engine; see Runtime for the verbs."""

    # --- Start ---

    def start(self, run_dir: Path, spec: Mapping[str, Any]) -> None:
        """Start the attempt unless it was started before; an engine that refuses is a failure on record."""
        inside = {name: spec[name] for name in ("argv", "env", "cwd")}
        limits = spec.get("limits") or {}
        for name in HELD_BY_ENGINE:
            inside[name] = min(filter(None, (spec["container"].get(name), limits.get(name))), default=None)
        inside["rlimits"] = spec.get("rlimits") or {}
        container = {**spec["container"], **inside, "name": container_name(run_dir)}
        outside = {
            "argv": shim_command("attach", str(run_dir)),
            "env": {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
            "cwd": "/",
            "stand_in": True,
            # What it keeps beside its output is inside.
            "follow": None,
            # The engine's, below; the attachment needs what it needs.
            "rlimits": {},
        }
        super().start(run_dir, {**spec, **outside, "container": container})

    def _start_shim(self, run_dir: Path, lock: int) -> None:
        try:
            self._create(run_dir)
        except EngineError as refusal:
            self._record_end(str(run_dir), reason=f"container_failed: {refusal}")
            return
        super()._start_shim(run_dir, lock)

    def _create(self, run_dir: Path) -> None:
        """Make the container that spec.json asks for. The lock is held."""
        engine = Engine.here()
        spec: dict[str, Any] = rundir.read_json(str(run_dir), rundir.SPEC) or {}
        spec["container"]["engine"] = str(engine.socket)
        rundir.write_json(str(run_dir), rundir.SPEC, spec)
        # An earlier attempt may have left its container at work in the same directory.
        remove_leftovers(run_dir.parent, runner_id=str(spec["runner_id"]))
        engine.create(described(run_dir, spec, engine))

    # --- Steer ---

    def pause(self, run_dir: Path) -> None:
        """Freeze the container, then its attachment; what the engine cannot freeze goes on, and is told."""
        self._engine_does("pause", run_dir)
        super().pause(run_dir)

    def resume(self, run_dir: Path) -> None:
        """Let container and attachment go on."""
        self._engine_does("unpause", run_dir)
        super().resume(run_dir)

    def _engine_does(self, verb: str, run_dir: Path) -> None:
        try:
            getattr(Engine.here(), verb)(container_name(run_dir))
        except EngineError as refusal:
            raise ShimRefused(str(refusal)) from refusal

    # --- What is left ---

    def _end_remains(self, directory: str) -> list[int]:
        unkillable = super()._end_remains(directory)
        try:
            Engine.here().remove(container_name(Path(directory)))
        except EngineError as error:
            # Its processes were ended as far as they can be seen; the container goes when the engine is back.
            log.warning("container_left", run=Path(directory).name, error=str(error))
        return unkillable


def remove_leftovers(runs: Path, *, runner_id: str = "") -> list[tuple[UUID, int]]:
    """Remove the containers of attempts that are over, of all runners or of one; return these: runner, generation.

    An attempt is over when its exit is on record or its directory is gone. Without an engine there is nothing to do.
    """
    removed = []
    try:
        engine = Engine.here()
        for name, runner, generation in engine.containers(runs):
            concerned = not runner_id or runner == runner_id.replace("-", "")
            if concerned and is_over(runs / f"{runner}.{generation}") and engine.remove(name):
                removed.append((UUID(runner), int(generation)))
    except EngineError as error:
        log.debug("no_engine", error=str(error))
    if removed:
        log.warning("containers_left", attempts=[f"{runner.hex}.{generation}" for runner, generation in removed])
    return removed


def is_over(directory: Path) -> bool:
    """Say whether nothing runs, or will run, for this run directory."""
    if not directory.exists():
        return True
    return rundir.has(str(directory), rundir.EXIT) and not rundir.is_locked(str(directory))


def container_name(run_dir: Path) -> str:
    """Return the name of an attempt's container."""
    return f"stratavore-{run_dir.name}"


def described(run_dir: Path, spec: Mapping[str, Any], engine: Engine) -> NewContainer:
    """Return the container for a spec: the workspace at its own path, the report pipe, and no more of this machine."""
    container = spec["container"]
    workspace = container["cwd"]
    if engine.socket.resolve().is_relative_to(Path(workspace).resolve()):
        raise EngineError(f"The engine's socket lies in {workspace}: the agent would have the whole machine.")
    user = container["user"] or owner_of(workspace, engine)
    report = run_dir / rundir.REPORT
    make_report_pipe(report, user)
    marker = {
        "STRATAVORE_RUNNER_ID": str(spec["runner_id"]),
        "STRATAVORE_GENERATION": str(spec["generation"]),
        "STRATAVORE_REPORT": REPORT_INSIDE,
    }
    runner, _, generation = run_dir.name.partition(".")
    return NewContainer(
        name=container["name"],
        image=container["image"],
        argv=list(container["argv"]),
        environment={**container["env"], **marker},
        cwd=workspace,
        user=user,
        network=container["network"],
        tty=bool(spec["tty"]),
        mounts={workspace: workspace, str(report): REPORT_INSIDE},
        labels={RUNNER_LABEL: runner, GENERATION_LABEL: generation, RUNS_LABEL: str(run_dir.parent)},
        memory_mb=container.get("memory_mb"),
        processes=container.get("processes"),
        rlimits=container.get("rlimits") or {},
    )


def owner_of(workspace: str, engine: Engine) -> str:
    """Return the user that owns the workspace, as the engine counts users: `uid:gid`."""
    if engine.facts["rootless"] == "yes":
        # Its root is the engine's own user, outside.
        return "0:0"
    owner = Path(workspace).stat()
    return f"{owner.st_uid}:{owner.st_gid}"


def make_report_pipe(path: Path, user: str) -> None:
    """Make the pipe before the shim would: the container can only be given what is there, and must be its owner's."""
    if not path.exists():
        os.mkfifo(path, 0o600)
    uid, _, gid = user.partition(":")
    if os.geteuid() == 0 and int(uid):
        os.chown(path, int(uid), int(gid or -1))
