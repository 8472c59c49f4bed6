"""Where runners may work: below the allowed workspace roots, symbolic links resolved."""

from pathlib import Path

from django.conf import settings

from runners.exceptions import PathNotAllowed


def allowed_directory(path: str | Path) -> str:
    """Return `path` with links resolved; raise PathNotAllowed unless it is a directory below an allowed root."""
    given = Path(path)
    if not given.is_absolute():
        raise PathNotAllowed(f"{given} is not an absolute path.", field="path")
    resolved = given.resolve()
    roots = [root.resolve() for root in settings.WORKSPACE_ROOTS]
    if not any(resolved.is_relative_to(root) for root in roots):
        places = ", ".join(str(root) for root in roots)
        raise PathNotAllowed(f"{given} lies outside the allowed workspace roots ({places}).", field="path")
    if not resolved.is_dir():
        raise PathNotAllowed(f"{given} is not a directory.", field="path")
    return str(resolved)


def workspace_within(project_path: str, wanted: str) -> str:
    """Return the working directory of a launch: the project's own, or `wanted` below it."""
    base = allowed_directory(project_path)
    resolved = allowed_directory(Path(base) / wanted) if wanted else base
    if not Path(resolved).is_relative_to(base):
        raise PathNotAllowed(f"{wanted} lies outside the project's directory {base}.", field="workspace")
    return resolved
