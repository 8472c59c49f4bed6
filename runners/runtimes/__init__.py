"""Where a runner's process lives: the runtimes named in settings.RUNNER_RUNTIMES."""

from functools import cache
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.utils.module_loading import import_string

from runners.exceptions import InvalidRequest
from runners.runtimes.base import Runtime
from runners.shim import rundir


@cache
def get_runtime(name: str) -> Runtime:
    """Return the runtime `name`, or raise InvalidRequest naming those there are."""
    try:
        path = settings.RUNNER_RUNTIMES[name]
    except KeyError:
        known = ", ".join(sorted(settings.RUNNER_RUNTIMES))
        raise InvalidRequest(f"There is no runtime {name!r}; there are {known}.", field="runtime") from None
    runtime: Runtime = import_string(path)()
    return runtime


def runtime_of(run_dir: Path) -> Runtime:
    """Return the runtime of the attempt in this run directory, as its spec says; process where it says nothing."""
    spec = rundir.read_json(str(run_dir), rundir.SPEC) or {}
    return get_runtime(str(spec.get("runtime", "process")))


def run_directory(runner_id: UUID, generation: int) -> Path:
    """Return the directory of one attempt on this node."""
    return Path(settings.RUNS_DIR) / f"{runner_id.hex}.{generation}"
