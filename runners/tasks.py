"""Celery tasks of runners: ids in, one service call. Those of a node run on its queue `node.<name>`."""

from uuid import UUID

from celery import shared_task

from runners.models import Runner
from runners.runtimes import get_runtime, run_directory
from runners.services import reconcile as reconciler
from runners.services.start import start_on_node


@shared_task
def start_runner(runner_id: str, generation: int) -> None:
    """Start the process of one attempt on this node."""
    start_on_node(UUID(runner_id), generation)


@shared_task
def stop_runner(runner_id: str, generation: int, grace_seconds: int) -> None:
    """Ask the shim of one attempt to end it; without a shim, see to it that none starts."""
    runner = Runner.objects.get(pk=runner_id)
    get_runtime(runner.runtime).stop(
        run_directory(runner.pk, generation), grace_seconds=grace_seconds, reason=runner.reason or "stopped"
    )


@shared_task
def pause_runner(runner_id: str, generation: int) -> None:
    """Suspend the processes of one attempt."""
    runner = Runner.objects.get(pk=runner_id)
    get_runtime(runner.runtime).pause(run_directory(runner.pk, generation))


@shared_task
def resume_runner(runner_id: str, generation: int) -> None:
    """Let the processes of one attempt go on."""
    runner = Runner.objects.get(pk=runner_id)
    get_runtime(runner.runtime).resume(run_directory(runner.pk, generation))


@shared_task
def reconcile() -> None:
    """Compare what is wanted with what is seen."""
    reconciler.reconcile()
