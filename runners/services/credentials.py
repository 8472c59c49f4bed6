"""Which account of a provider a run uses: a fingerprint by which runs of the same account are known, never the secret.

A launch may bring a key of its own; else its node's counts: a key in the environment of the node's worker, or whoever
is signed in there. The node agent tells the node's fingerprints, so that nobody else must know its environment.
"""

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.utils.crypto import salted_hmac

from runners.backends import all_backends, get_backend
from runners.backends.base import Backend, LaunchRequest
from runners.models import Node, Runner

#: Variables that are the account, and those that say where the program finds it.
SECRET = re.compile(r"(_KEY|_KEY_ID|_TOKEN|_SECRET|_CREDENTIALS)$")
PLACE = re.compile(r"(_CONFIG_DIR|_HOME|_PROFILE)$|^HOME$")
SALT = "stratavore.credential"


def own_credential(wanted: LaunchRequest | Runner) -> str:
    """Return the fingerprint of what a launch brings itself; empty: nothing, so the node's counts."""
    if isinstance(wanted, Runner):
        return wanted.credential
    return _fingerprint(get_backend(wanted.backend), wanted.environment)


def credential_of(backend: Backend, own: str, node: Node) -> str:
    """Return the credential of a run on a node; empty for a program that asks no provider."""
    if not backend.provider:
        return ""
    # A key is the account wherever it is used; a directory is one of its node's disk.
    theirs = str(node.credentials.get(backend.name) or f"@{node.name}")
    whole = own if own.startswith("key-") else f"{own}.{theirs}".lstrip(".")
    return f"{backend.provider}:{whole}"[:100]


def credential_label(backend: Backend, credential: str, node: Node) -> str:
    """Return a credential in words: Claude Code with key 3f9c2a; Claude Code as signed in on node-a."""
    _, found, digits = credential.rpartition("key-")
    return f"{backend.label} with key {digits[:6]}" if found else f"{backend.label} as signed in on {node.name}"


def node_credentials(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return, by backend, the fingerprint of the account that runs on this node use."""
    return {
        backend.name: _fingerprint(backend, environment) or f"@{settings.NODE_NAME}"
        for backend in all_backends()
        if backend.provider
    }


def _fingerprint(backend: Backend, environment: Mapping[str, str]) -> str:
    if not backend.provider:
        return ""
    names = [name for name in (*backend.passes_environment, "HOME") if environment.get(name)]
    secrets = {name: environment[name] for name in names if SECRET.search(name)}
    if secrets:
        return f"key-{_digest(secrets)}"
    places = {name: environment[name] for name in names if PLACE.search(name)}
    return f"place-{_digest([settings.NODE_NAME, places])}" if places else ""


def _digest(value: Any) -> str:
    return salted_hmac(SALT, json.dumps(value, sort_keys=True), algorithm="sha256").hexdigest()[:20]
