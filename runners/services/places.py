"""Where a runner may run: the project's quota and a slot of a node that fits, neither of which can be raced past."""

from collections.abc import Iterable, Mapping, Sequence

from django.db import transaction

from runners.backends import get_backend
from runners.backends.base import Backend, LaunchRequest
from runners.exceptions import EngineNotFound, NoNodeAvailable, ProgramNotFound, ProviderLimited, QuotaExceeded
from runners.models import Node, Project, ProviderLimit, ResourceQuota, Runner
from runners.services.allowance import check_budgets
from runners.services.containers import CONTAINER
from runners.services.credentials import credential_of, own_credential
from runners.sql import database_now, free_slots, lock_all_for_transaction, quota_and_use
from runners.states import NodeStatus

#: Spaces of the advisory locks, so that a project and a node with the same id do not meet.
PROJECT_LOCK = 7101
NODE_LOCK = 7102


def take_place(
    project: Project, wanted: LaunchRequest | Runner, *, prefer: Node | None = None, only: Node | None = None
) -> Node:
    """Take a place for one more runner of the project, and return its node. Raises NoPlace, ProgramNotFound."""
    return Places([project]).take(project, wanted, prefer=prefer, only=only)


class Places:
    """The places that a transaction gives to runners of some projects: their quotas, and the slots of nodes that fit.

    What was given is held until the transaction ends: of two for the last place one sees the other. `several`: so many
    may be asked for that they go to many nodes.
    """

    def __init__(self, projects: Iterable[Project], *, several: bool = False) -> None:
        self.project_ids = frozenset(project.pk for project in projects)
        self.several = several
        self._allowed: set[tuple[int, str, str]] = set()
        self._locked = False
        #: Of each project, how many it may have and how many it has.
        self._quotas: dict[int, tuple[int, int]] = {}
        #: What is left of nodes whose lock is held.
        self._free: dict[int, int] = {}
        self._fitting: dict[object, list[Node]] = {}

    def take(
        self,
        project: Project,
        wanted: LaunchRequest | Runner,
        *,
        prefer: Node | None = None,
        only: Node | None = None,
    ) -> Node:
        """Take a place for one more runner, and return its node: the one with the most free slots of those that fit.

        A node fits that has all labels, and the backend's program; for a container, an engine: the program is the
        image's. `prefer` goes first if it fits; `only` is the node that has the conversation to go on with. Raises
        BudgetSpent, QuotaExceeded, NoNodeAvailable, also where no node has the labels, and ProgramNotFound where nodes
        have them but none the program.
        """
        self._check_budgets(project, wanted)
        limit, used = self._under_quota(project)
        node = self._node(wanted, prefer, only)
        self._quotas[project.pk] = limit, used + 1
        self._free[node.pk] -= 1
        return node

    def give_back(self, project: Project, node: Node) -> None:
        """Take back a place: the runner is not started after all."""
        limit, used = self._quotas[project.pk]
        self._quotas[project.pk] = limit, used - 1
        self._free[node.pk] += 1

    def _check_budgets(self, project: Project, wanted: LaunchRequest | Runner) -> None:
        counted = project.pk, wanted.agent_name, wanted.personality_name
        if counted not in self._allowed:
            check_budgets(project, wanted)
        if not isinstance(wanted, Runner):  # a runner may have a budget of its own
            self._allowed.add(counted)

    def _under_quota(self, project: Project) -> tuple[int, int]:
        if not self._locked:
            # All at once and in order, as the nodes below: nobody waits for another in a circle.
            lock_all_for_transaction(PROJECT_LOCK, sorted(self.project_ids))
            self._locked = True
        if project.pk not in self._quotas:
            limit, used = quota_and_use(project.pk)
            self._quotas[project.pk] = ResourceQuota.DEFAULT_MAX_CONCURRENT_RUNNERS if limit is None else limit, used
        limit, used = self._quotas[project.pk]
        if used >= limit:
            name = project.name
            raise QuotaExceeded(f"{name} has {used} of {limit} runners: its quota is full.", used=used, limit=limit)
        return limit, used

    def _node(self, wanted: LaunchRequest | Runner, prefer: Node | None, only: Node | None) -> Node:
        if self.several and not self._free:
            # All at once and in order: two that each take from many nodes do not wait for each other in a circle.
            self._lock(Node.objects.filter(status=NodeStatus.ONLINE).values_list("pk", flat=True))
        limited: ProviderLimit | None = None
        nodes = [node for node in self._fitting_nodes(wanted) if only is None or node == only]
        while nodes:
            node = min(nodes, key=lambda node: (node != prefer, -self._seen_free(node), node.name))
            if limit := provider_limit(wanted, node):
                limited = limit if limited is None else min(limit, limited, key=lambda each: each.until)
                nodes = [other for other in nodes if other != node]
                continue
            if self._has_slot(node):
                return node
            nodes = [other for other in nodes if other != node]
        if limited:
            raise _limited(limited)
        raise _no_slot_at(only) if only else _why_no_node(wanted, self._free)

    def _fitting_nodes(self, wanted: LaunchRequest | Runner) -> list[Node]:
        """Return the nodes that have what is needed and, when they were looked at, a free slot."""
        container, program = wanted.runtime == CONTAINER, get_backend(wanted.backend).program
        need = container, wanted.backend if program else "", tuple(sorted(wanted.labels))
        if need not in self._fitting:
            fitting = Node.objects.filter(status=NodeStatus.ONLINE)
            if wanted.labels:
                fitting = fitting.with_labels(wanted.labels)
            if container:
                fitting = fitting.with_engine()
            elif program:
                fitting = fitting.with_program(wanted.backend)
            nodes = list(fitting)
            free = free_slots([node.pk for node in nodes])
            for node in nodes:
                node.free = free.get(node.pk, 0)  # type: ignore[attr-defined] # as accepting() annotates it
            self._fitting[need] = nodes
        return [node for node in self._fitting[need] if self._seen_free(node) > 0]

    def _has_slot(self, node: Node) -> bool:
        """Say whether a node has a free slot, counted under its lock: another launch may have taken it since."""
        if node.pk in self._free:
            return self._free[node.pk] > 0
        before = transaction.savepoint()
        self._lock([node.pk])
        if self._free[node.pk] > 0:
            transaction.savepoint_commit(before)
            return True
        # Its lock goes with the savepoint: whoever held it while waiting for the next one's could wait in a circle.
        transaction.savepoint_rollback(before)
        del self._free[node.pk]
        return False

    def _seen_free(self, node: Node) -> int:
        return self._free.get(node.pk, getattr(node, "free", 0))

    def _lock(self, node_ids: Iterable[int]) -> None:
        ids = list(node_ids)
        lock_all_for_transaction(NODE_LOCK, ids)
        free = free_slots(ids)
        self._free |= {node_id: free.get(node_id, 0) for node_id in ids}


def provider_limit(wanted: LaunchRequest | Runner, node: Node) -> ProviderLimit | None:
    """Return the limit of the account that a run on `node` would use, if one holds now."""
    backend = get_backend(wanted.backend)
    if not backend.provider or (isinstance(wanted, Runner) and wanted.ignores_limit):
        return None
    credential = credential_of(backend, own_credential(wanted), node)
    limit = ProviderLimit.objects.filter(credential=credential).first()
    return limit if limit is not None and limit.in_force(database_now()) else None


def _limited(limit: ProviderLimit) -> ProviderLimited:
    guess = "" if limit.is_told else ", when it is tried again"
    return ProviderLimited(
        f"provider limit of {limit.label} until {limit.until:%Y-%m-%d %H:%M:%S} UTC{guess}.",
        limit_id=limit.pk,
        label=limit.label,
        until=limit.until.isoformat(),
    )


def _no_slot_at(home: Node) -> NoNodeAvailable:
    return NoNodeAvailable(f"{home.name}, which has the conversation, has no free slot.", node=home.name)


def _why_no_node(wanted: LaunchRequest | Runner, free: Mapping[int, int]) -> NoNodeAvailable | ProgramNotFound:
    """Return the refusal that names what is missing: a node, a label, the program, or a free slot.

    `free`: the slots that are left of some nodes, where this transaction has taken some.
    """
    nodes = list(Node.objects.with_occupied())
    if not nodes:
        return NoNodeAvailable("No node has registered yet: start a node agent (`manage.py nodeagent`).")
    labelled = [node for node in nodes if set(wanted.labels) <= set(node.labels)]
    if not labelled:
        return _no_labels(wanted.labels, nodes)
    backend = get_backend(wanted.backend)
    equipped = [node for node in labelled if _is_equipped(node, backend, wanted.runtime)]
    if not equipped:
        names = ", ".join(node.name for node in labelled)
        if wanted.runtime == CONTAINER:
            return EngineNotFound(f"There is no container engine on {names}.", field="runtime", nodes=names)
        return ProgramNotFound(
            f"{backend.label} ({backend.program}) is not installed on {names}.", program=backend.program, nodes=names
        )
    with_labels = f" with {_labels(wanted.labels)}" if wanted.labels else ""
    states = ", ".join(
        f"{node.name} is {node.status} with {_taken(node, free)} of {node.slots} slots taken" for node in equipped
    )
    return NoNodeAvailable(f"No node{with_labels} has a free slot: {states}.")


def _taken(node: Node, free: Mapping[int, int]) -> int:
    return node.slots - free[node.pk] if node.pk in free and node.status == NodeStatus.ONLINE else int(node.occupied)  # type: ignore[attr-defined]


def _is_equipped(node: Node, backend: Backend, runtime: str) -> bool:
    if runtime == CONTAINER:
        return bool(node.engine)
    return not backend.program or backend.name in node.programs


def _no_labels(labels: Sequence[str], nodes: Iterable[Node]) -> NoNodeAvailable:
    present = {label for node in nodes for label in node.labels}
    missing = [label for label in labels if label not in present]
    if missing:
        return NoNodeAvailable(f"No node has {_labels(missing)}.", missing_labels=missing)
    return NoNodeAvailable(f"No node has {_labels(labels)} together.", missing_labels=list(labels))


def _labels(labels: Sequence[str]) -> str:
    return f"the label {labels[0]}" if len(labels) == 1 else f"the labels {' and '.join(labels)}"
