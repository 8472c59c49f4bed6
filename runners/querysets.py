"""Named reads of runners, projects and nodes."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Count, Q
from django.db.models.functions import Coalesce

from runners.scopes import Names, budgets_of, names_for_budgets
from runners.states import OCCUPYING, TERMINAL, BudgetAction, NodeStatus, ProjectStatus, RunnerStatus

if TYPE_CHECKING:
    from runners.models import Budget, Node, Project, Runner  # noqa: F401 - named in the brackets below


class ProjectQuerySet(models.QuerySet["Project"]):
    def open(self) -> "ProjectQuerySet":
        return self.exclude(status=ProjectStatus.ARCHIVED)

    def with_runner_counts(self) -> "ProjectQuerySet":
        return self.annotate(
            runner_count=Count("runners"), active_runner_count=Count("runners", filter=Q(runners__status__in=OCCUPYING))
        )


class NodeQuerySet(models.QuerySet["Node"]):
    def with_occupied(self) -> "NodeQuerySet":
        return self.annotate(occupied=Count("runners", filter=Q(runners__status__in=OCCUPYING)))

    def accepting(self) -> "NodeQuerySet":
        """Return online nodes with a free slot, most free slots first."""
        free = models.F("slots") - models.F("occupied")
        return (
            self.filter(status=NodeStatus.ONLINE)
            .with_occupied()
            .annotate(free=free)
            .filter(free__gt=0)
            .order_by("-free", "name")
        )

    def with_labels(self, labels: Sequence[str]) -> "NodeQuerySet":
        """Return the nodes that have all of these labels."""
        return self.filter(labels__contains=list(labels))

    def with_program(self, backend: str) -> "NodeQuerySet":
        """Return the nodes that have the backend's program."""
        return self.filter(programs__has_key=backend)

    def with_engine(self) -> "NodeQuerySet":
        """Return the nodes that can run containers."""
        return self.exclude(engine={})


class RunnerQuerySet(models.QuerySet["Runner"]):
    def occupying(self) -> "RunnerQuerySet":
        return self.filter(status__in=OCCUPYING)

    def open(self) -> "RunnerQuerySet":
        return self.exclude(status__in=TERMINAL)

    def attempt(self, runner_id: Any, generation: int) -> "RunnerQuerySet":
        """Return the runner if that generation is still its current one; else nothing."""
        return self.filter(pk=runner_id, generation=generation)

    def counts_by_status(self) -> dict[str, int]:
        """Return a count for every status, 0 included."""
        found = dict(self.order_by().values_list("status").annotate(n=Count("pk")))
        return {status: found.get(status, 0) for status in RunnerStatus.values}


class BudgetQuerySet(models.QuerySet["Budget"]):
    def active(self) -> "BudgetQuerySet":
        return self.filter(active=True)

    def holding(self) -> "BudgetQuerySet":
        """Return those that stop work when they are spent."""
        return self.exclude(action=BudgetAction.WARN)

    def counting(self, *, project: str, agent: str, personality: str, runner_id: object = None) -> "BudgetQuerySet":
        """Return those that count a runner's usage."""
        return self.counting_any(
            [names_for_budgets(project=project, agent=agent, personality=personality, runner_id=runner_id)]
        )

    def counting_any(self, runners: Iterable[Names]) -> "BudgetQuerySet":
        """Return those that count the usage of any of the runners of these names."""
        return self.filter(budgets_of(runners))

    def with_raised(self, at: datetime) -> "BudgetQuerySet":
        """Annotate by how much each is raised at that moment."""
        return self.annotate(
            raised=Coalesce(
                models.Sum("raises__amount", filter=Q(raises__made_at__lte=at, raises__until__gt=at)), Decimal(0)
            )
        )
