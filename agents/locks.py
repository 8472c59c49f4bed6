"""The advisory locks of the app, and the order in which everything is locked.

Always in this order, so that no two transactions wait for each other: the graph of dependencies, a project's dispatch,
job rows, agent rows, assignment and time rows; then what a launch locks (runners/services/places.py), and runner rows.
"""

from runners.sql import lock_for_transaction

#: Spaces of the advisory locks; 71xx are those of runners.
GRAPH_LOCK = 7201
DISPATCH_LOCK = 7202


def lock_graph() -> None:
    """Keep everyone else from changing edges, or statuses that others wait for, until the transaction ends.

    Without it, a job could be given a dependency that completes meanwhile and frees nobody, and two edges added at
    once could close a circle that neither sees.
    """
    lock_for_transaction(GRAPH_LOCK, 0)


def lock_dispatch(project_id: int) -> None:
    """Keep other dispatchers away from a project until the transaction ends."""
    lock_for_transaction(DISPATCH_LOCK, project_id)
