"""The container engine of this node, through Docker's API: Docker and Podman both serve it."""

import contextlib
import os
import resource
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings

if TYPE_CHECKING:
    from docker import APIClient

#: Making a container takes Podman 20 ms here; on a busy machine much longer.
TIMEOUT_SECONDS = 30
#: Images may set none, and Podman adds none. It is what Docker would add.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
RUNNER_LABEL = "stratavore.runner"
GENERATION_LABEL = "stratavore.generation"
#: Whose it is, where several nodes share an engine: the directory of its run directories.
RUNS_LABEL = "stratavore.runs"
#: Where the engines listen when nothing else is said, the rootless first: it may do less.
USUAL_SOCKETS = ("{runtime}/podman/podman.sock", "{runtime}/docker.sock", "/run/podman/podman.sock", "/run/docker.sock")


class EngineError(Exception):
    """The engine is not there, or refused; the message is a sentence."""


class NoEngine(EngineError):
    """Nobody listens; an engine that listens and is only slow is there."""


@dataclass(frozen=True)
class NewContainer:
    """What a container is made of."""

    name: str
    image: str
    argv: list[str]
    environment: Mapping[str, str]
    cwd: str
    user: str
    network: str
    tty: bool
    #: {path on this machine: path inside}
    mounts: Mapping[str, str]
    labels: Mapping[str, str]
    memory_mb: int | None = None
    processes: int | None = None
    #: Of each process: {"nofile": 1024}.
    rlimits: Mapping[str, int] = field(default_factory=dict)


def engine_socket() -> Path | None:
    """Return the socket of this node's engine: the one in the settings, or one where engines usually listen."""
    if settings.CONTAINER_ENGINE == "none":
        return None
    if settings.CONTAINER_ENGINE:
        return Path(settings.CONTAINER_ENGINE)
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    candidates = [Path(place.format(runtime=runtime)) for place in USUAL_SOCKETS]
    return next((path for path in candidates if path.is_socket() and os.access(path, os.W_OK)), None)


def find_engine(known: dict[str, str]) -> dict[str, str]:
    """Return {name, version, rootless} of this node's engine; empty where there is none, `known` where it is slow."""
    try:
        return Engine.here().facts
    except NoEngine:
        return {}
    except EngineError:
        return known


class Engine:
    """One engine, by its socket."""

    def __init__(self, path: Path) -> None:
        self.socket = path

    @classmethod
    def here(cls) -> "Engine":
        """Return this node's engine. Raises EngineError where there is none."""
        path = engine_socket()
        if path is None:
            raise NoEngine("There is no container engine on this node: start Podman's or Docker's API service.")
        return cls(path)

    @cached_property
    def facts(self) -> dict[str, str]:
        """Return {name, version, rootless}."""
        with self._api() as api:
            version = api.version()
            rootless = any("rootless" in option for option in api.info().get("SecurityOptions") or ())
        name = "podman" if "podman" in str(version.get("Components")).lower() else "docker"
        return {"name": name, "version": str(version["Version"]), "rootless": "yes" if rootless else "no"}

    def create(self, wanted: NewContainer) -> None:
        """Make the container, not started; one of this name that is there already is taken as made."""
        from docker.errors import APIError

        with self._api() as api:
            has_path = any(variable.startswith("PATH=") for variable in self._image_environment(api, wanted.image))
            environment = {**({} if has_path else {"PATH": DEFAULT_PATH}), **wanted.environment}
            try:
                self._create(api, wanted, environment, init=True)
            except APIError as error:
                # Podman without catatonit. Signals then reach the agent as process 1, which must want them.
                if "init binary" not in str(error):
                    raise
                self._create(api, wanted, environment, init=False)

    def _create(self, api: "APIClient", wanted: NewContainer, environment: Mapping[str, str], *, init: bool) -> None:
        from docker.errors import APIError
        from docker.types import LogConfig, Mount, Ulimit

        memory = f"{wanted.memory_mb}m" if wanted.memory_mb else None
        host = api.create_host_config(
            network_mode=wanted.network,
            mounts=[Mount(inside, outside, type="bind") for outside, inside in wanted.mounts.items()],
            privileged=False,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            mem_limit=memory,
            # As much as memory: none of it on the swap.
            memswap_limit=memory,
            pids_limit=wanted.processes,
            ulimits=[Ulimit(name=name, soft=value, hard=value) for name, value in _all_rlimits(wanted).items()],
            init=init,
            # Its output is in the run directory already.
            log_config=LogConfig(type="none"),
        )
        try:
            api.create_container(
                wanted.image,
                # An entrypoint of the image's own would come before the command.
                entrypoint=wanted.argv[:1],
                command=wanted.argv[1:],
                name=wanted.name,
                user=wanted.user,
                tty=wanted.tty,
                stdin_open=True,
                environment=dict(environment),
                working_dir=wanted.cwd,
                labels=dict(wanted.labels),
                host_config=host,
            )
        except APIError as error:
            if not _says_taken(error):
                raise

    def _image_environment(self, api: "APIClient", image: str) -> list[str]:
        from docker.errors import ImageNotFound

        try:
            found: dict[str, Any] = api.inspect_image(image)  # type: ignore[no-untyped-call]
        except ImageNotFound:
            raise EngineError(f"The image {image} is not on this node: pull it there first.") from None
        return list(found["Config"].get("Env") or ())

    def pause(self, name: str) -> None:
        """Freeze all processes of a container; a frozen one stays so."""
        with self._api() as api:
            if not api.inspect_container(name)["State"].get("Paused"):
                api.pause(name)

    def unpause(self, name: str) -> None:
        """Let a frozen container go on; one that is not frozen does."""
        with self._api() as api:
            if api.inspect_container(name)["State"].get("Paused"):
                api.unpause(name)

    def remove(self, name: str) -> bool:
        """Remove a container, running or not; return False if there is none."""
        from docker.errors import APIError, NotFound

        with self._api() as api:
            try:
                api.remove_container(name, force=True, v=True)
            except NotFound:
                return False
            except APIError as error:
                if error.status_code == 409:  # it is being removed
                    return False
                raise
        return True

    def containers(self, runs: Path) -> list[tuple[str, str, str]]:
        """Return name, runner id and generation of all containers, ended ones too, of the runners of this node."""
        with self._api() as api:
            found = api.containers(all=True, filters={"label": f"{RUNS_LABEL}={runs}"})
        return [
            (entry["Names"][0].lstrip("/"), entry["Labels"][RUNNER_LABEL], entry["Labels"][GENERATION_LABEL])
            for entry in found
        ]

    @contextlib.contextmanager
    def _api(self) -> Iterator["APIClient"]:
        """Give the API's client, and tell what goes wrong as EngineError."""
        # Here, because it costs 0.2 s, and only nodes that run containers need it.
        from docker import APIClient
        from docker.errors import APIError, DockerException
        from requests.exceptions import RequestException

        self._knock()
        try:
            client = APIClient(base_url=f"unix://{self.socket}", timeout=TIMEOUT_SECONDS)
            with contextlib.closing(client):
                yield client
        except APIError as error:
            raise EngineError(f"The container engine refused: {str(error.explanation or error).strip()}") from error
        except (DockerException, RequestException) as error:
            raise EngineError(f"No container engine answers at {self.socket}.") from error

    def _knock(self) -> None:
        """Raise EngineError where nobody listens; the client would leave a socket open then."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT_SECONDS)
            try:
                connection.connect(str(self.socket))
            except OSError as error:
                raise NoEngine(f"No container engine answers at {self.socket}.") from error


def _all_rlimits(wanted: NewContainer) -> dict[str, int]:
    """Return the limits of each process; where one is given Podman forgets its own others, and takes a million.

    That may be more than this machine allows, so these stand in: the worker's own, and as many processes as can be,
    to which Podman limits itself.
    """
    if not wanted.rlimits:
        return {}
    most = int(Path("/proc/sys/kernel/pid_max").read_text())
    others = {"nofile": _hard_limit(resource.RLIMIT_NOFILE), "nproc": min(most, _hard_limit(resource.RLIMIT_NPROC))}
    return others | {name: min(value, others.get(name, value)) for name, value in wanted.rlimits.items()}


def _hard_limit(kind: int) -> int:
    hard = resource.getrlimit(kind)[1]
    # The kernel's own bound for open files; no number of processes comes near it.
    return int(Path("/proc/sys/fs/nr_open").read_text()) if hard == resource.RLIM_INFINITY else hard


def _says_taken(error: Any) -> bool:
    """Say whether a container of the name is there. Podman answers 500 for it, Docker 409."""
    return error.status_code == 409 or "already in use" in str(error.explanation)
