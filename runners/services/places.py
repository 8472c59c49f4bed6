"""Where a runner may run: the project's quota and a slot of a node that fits, neither of which can be raced past."""

from collections.abc import Iterable, Sequence

from runners.backends import get_backend
from runners.backends.base import Backend, LaunchRequest
from runners.exceptions import EngineNotFound, NoNodeAvailable, ProgramNotFound, ProviderLimited, QuotaExceeded
from runners.models import Node, Project, ProviderLimit, ResourceQuota, Runner
from runners.services.allowance import check_budgets
from runners.services.containers import CONTAINER
from runners.services.credentials import credential_of, own_credential
from runners.sql import database_now, lock_for_transaction

#: Spaces of the advisory locks, so that a project and a node with the same id do not meet.
PROJECT_LOCK = 7101
NODE_LOCK = 7102


def take_place(project: Project, wanted: LaunchRequest | Runner, *, prefer: Node | None = None) -> Node:
    """Take a place for one more runner of the project, and return its node. Raises NoPlace, ProgramNotFound."""
    check_budgets(project, wanted)
    take_quota(project)
    return take_slot(wanted, prefer=prefer)


def take_quota(project: Project) -> None:
    """Raise QuotaExceeded unless the project may have one more runner.

    Holds the project's lock until the transaction ends, so that of two launches for the last place one sees the other.
    """
    lock_for_transaction(PROJECT_LOCK, project.pk)
    limit = quota_of(project)
    used = Runner.objects.filter(project=project).occupying().count()
    if used >= limit:
        raise QuotaExceeded(f"{project.name} has {used} of {limit} runners: its quota is full.", used=used, limit=limit)


def quota_of(project: Project) -> int:
    """Return how many runners the project may have at once."""
    found = ResourceQuota.objects.filter(project=project).values_list("max_concurrent_runners", flat=True).first()
    return ResourceQuota.DEFAULT_MAX_CONCURRENT_RUNNERS if found is None else found


def take_slot(wanted: LaunchRequest | Runner, *, prefer: Node | None = None) -> Node:
    """Return the online node with the most free slots of those that fit.

    A node fits that has all labels, and the backend's program; for a container, an engine: the program is the image's.

    `prefer` goes first if it fits. The slot is held until the transaction ends. Raises NoNodeAvailable, also where no
    node has the labels, and ProgramNotFound where nodes have them but none the program.
    """
    fitting = Node.objects.accepting().with_labels(wanted.labels)
    if wanted.runtime == CONTAINER:
        fitting = fitting.with_engine()
    elif get_backend(wanted.backend).program:
        fitting = fitting.with_program(wanted.backend)
    limited: ProviderLimit | None = None
    for candidate in sorted(fitting, key=lambda node: node != prefer):
        if limit := provider_limit(wanted, candidate):
            limited = limit if limited is None else min(limit, limited, key=lambda each: each.until)
            continue
        lock_for_transaction(NODE_LOCK, candidate.pk)
        # Counted again under the lock: another launch may have taken the slot since.
        node = fitting.filter(pk=candidate.pk).first()
        if node is not None:
            return node
    raise _limited(limited) if limited else _why_no_node(wanted)


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


def _why_no_node(wanted: LaunchRequest | Runner) -> NoNodeAvailable | ProgramNotFound:
    """Return the refusal that names what is missing: a node, a label, the program, or a free slot."""
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
        f"{node.name} is {node.status} with {getattr(node, 'occupied', 0)} of {node.slots} slots taken"
        for node in equipped
    )
    return NoNodeAvailable(f"No node{with_labels} has a free slot: {states}.")


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
