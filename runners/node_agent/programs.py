"""Which agent programs this node has."""

import structlog

from runners.backends import all_backends

log = structlog.get_logger(__name__)


def find_programs() -> dict[str, dict[str, str]]:
    """Return {backend: {path, version}} for each backend whose program is here; those without one are left out."""
    found = {}
    for backend in all_backends():
        path = backend.find() if backend.program else None
        if path:
            found[backend.name] = {"path": path, "version": backend.version(path)}
    log.info("programs_found", **{name: facts["version"] for name, facts in found.items()})
    return found
