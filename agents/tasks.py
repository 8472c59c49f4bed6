"""Celery tasks of agents: one service call each."""

from celery import shared_task

from agents.services import dispatch as dispatcher
from agents.services import upkeep


@shared_task
def dispatch() -> None:
    """Give jobs to idle agents."""
    dispatcher.dispatch_all()


@shared_task
def look_after() -> None:
    """Look for what no event told."""
    upkeep.look_after()
