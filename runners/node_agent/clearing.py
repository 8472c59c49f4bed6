"""Remove the run directories of attempts that ended long ago, once everything in them is kept elsewhere."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import structlog
from django.conf import settings

from runners.node_agent.attempts import INGESTED, attempt_at
from runners.node_agent.keeper import KEPT
from runners.shim import rundir

log = structlog.get_logger(__name__)


def clear(runs: Path) -> int:
    """Remove what may go; return how many directories that were."""
    count = 0
    for directory in list(removable(runs)):
        try:
            shutil.rmtree(directory)
        except OSError as error:
            log.warning("run_directory_not_removed", run=directory.name, error=str(error))
            continue
        log.info("run_directory_removed", run=directory.name)
        count += 1
    return count


def removable(runs: Path) -> Iterator[Path]:
    """Yield the run directories whose attempt ended long enough ago, and is kept to its last byte.

    A worktree is none of them: those lie elsewhere, and have rules of their own.
    """
    before = time.time() - settings.RUN_DIRECTORY_DAYS * 86_400
    for directory in runs.iterdir():
        if attempt_at(directory) is None or directory.is_symlink():
            continue
        if not ((directory / KEPT).exists() and (directory / INGESTED).exists()):
            continue
        try:
            ended_at = (directory / rundir.EXIT).stat().st_mtime
        except FileNotFoundError:
            continue
        if ended_at <= before and not rundir.is_locked(str(directory)):
            yield directory
