"""What a container may be: which images, networks and users the settings allow."""

import re
from fnmatch import fnmatchcase
from typing import Any

from django.conf import settings

from runners.backends.base import Backend, LaunchRequest
from runners.exceptions import InvalidRequest
from runners.runtimes import get_runtime

CONTAINER = "container"
NO_NETWORK = "none"
#: The host's own network, or another container's, is no network of ours to give.
FORBIDDEN_NETWORKS = re.compile(r"host|container:.*|ns:.*")
USER = re.compile(r"[0-9]{1,10}(:[0-9]{1,10})?")


def check_runtime(backend: Backend, request: LaunchRequest) -> None:
    """Raise InvalidRequest unless the launch's runtime, and what it asks of it, may be."""
    get_runtime(request.runtime)
    if request.runtime != CONTAINER:
        for field in ("image", "network", "container_user"):
            if getattr(request, field):
                raise InvalidRequest(f"The field {field} is for the runtime container.", field=field)
        return
    if not backend.in_container:
        raise InvalidRequest(
            f"The {backend.name} backend runs on the node itself, not in a container.", field="runtime"
        )
    check_container(request)


def check_container(wanted: Any) -> None:
    """Raise InvalidRequest unless image, network and user are allowed (`wanted` is a LaunchRequest or a Runner)."""
    _check_image(wanted.image)
    _check_network(wanted.network)
    _check_user(wanted.container_user)


def _check_image(image: str) -> None:
    if not image:
        raise InvalidRequest("A container needs an image.", field="image")
    if not settings.CONTAINER_IMAGES:
        raise InvalidRequest(
            "No image is allowed here: STRATAVORE_CONTAINER_IMAGES names those that are.", field="image"
        )
    if not any(fnmatchcase(image, pattern) for pattern in settings.CONTAINER_IMAGES):
        allowed = ", ".join(settings.CONTAINER_IMAGES)
        raise InvalidRequest(f"The image {image} is not allowed; allowed are {allowed}.", field="image")


def _check_network(network: str) -> None:
    if network in ("", NO_NETWORK):
        return
    if network not in settings.CONTAINER_NETWORKS or FORBIDDEN_NETWORKS.fullmatch(network):
        allowed = ", ".join([NO_NETWORK, *settings.CONTAINER_NETWORKS])
        raise InvalidRequest(f"The network {network} is not allowed; allowed are {allowed}.", field="network")


def _check_user(user: str) -> None:
    if not user:
        return
    if not USER.fullmatch(user):
        raise InvalidRequest(f"A user is a number, or two as in 1000:1000, not {user!r}.", field="container_user")
    # One that is not the workspace's owner could leave programs there that others run with its rights.
    if user not in settings.CONTAINER_USERS:
        raise InvalidRequest(
            f"The user {user} is not allowed: STRATAVORE_CONTAINER_USERS names those that are.", field="container_user"
        )
