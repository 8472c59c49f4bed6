"""The verbs of runners. Pages, API, admin, tasks and the node agent all call these."""

from runners.services.launch import launch_runner
from runners.services.projects import archive_project, create_project, set_quota
from runners.services.restart import restart_runner
from runners.services.steer import pause_runner, resume_runner, stop_runner

__all__ = [
    "archive_project",
    "create_project",
    "launch_runner",
    "pause_runner",
    "restart_runner",
    "resume_runner",
    "set_quota",
    "stop_runner",
]
