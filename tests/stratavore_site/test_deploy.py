"""The files for containers and for systemd: they cannot be run here, so what they say is held against the code."""

import configparser
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands
from django.utils.module_loading import import_string

from stratavore_site import broker

PROJECT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if service["image"] == "stratavore"}
UNITS = sorted((PROJECT / "deploy").glob("*.service"))


def unit(path: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path)
    return parser["Service"]


def dockerfile_command() -> list[str]:
    found = re.search(r"^CMD (\[.*\])$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    assert found
    command: list[str] = yaml.safe_load(found[1])
    return command


def commands() -> dict[str, list[str]]:
    """Return every command that starts one of our processes, by where it stands."""
    found = {f"compose {name}": service.get("command") or dockerfile_command() for name, service in OURS.items()}
    for path in UNITS:
        for key in ("ExecStart", "ExecStartPre"):
            if key in unit(path):
                found[f"{path.name} {key}"] = shlex.split(unit(path)[key].replace("/opt/stratavore/.venv/bin/", ""))
    script = (PROJECT / "deploy" / "node").read_text().replace("\\\n", " ")
    for line in re.findall(r"^(?:celery|python) .*", script, re.MULTILINE):
        words = shlex.split(line.rstrip("& "))
        found[f"deploy/node {words[0]}"] = words
    return found


def check_manage(words: list[str]) -> None:
    assert words[0] in get_commands()


def check_celery(words: list[str]) -> None:
    assert words[0] == "-A"
    assert importlib.import_module(words[1]).celery_app.main == "stratavore"
    assert words[2] in {"worker", "beat"}
    known = {*(queue.name for queue in broker.task_queues), "node.${STRATAVORE_NODE}"}
    for word in words:
        if word.startswith("--queues="):
            assert set(word.removeprefix("--queues=").split(",")) <= known


@pytest.mark.parametrize(("place", "words"), commands().items(), ids=commands())
def test_every_command_names_something_that_exists(place: str, words: list[str]) -> None:
    match words:
        case ["python", "manage.py", *rest]:
            check_manage(rest)
        case ["python", "-m", "daphne", *rest]:
            assert callable(import_string(rest[-1].replace(":", ".")))
        case ["celery", *rest]:
            check_celery(rest)
        case [script]:
            assert os.access(PROJECT / script, os.X_OK)
        case _:
            pytest.fail(f"{place}: {words} is of no known kind")


def test_together_they_run_every_process_and_serve_every_queue() -> None:
    for places in ("compose", ".service"):
        text = " ".join(
            " ".join(words) for place, words in commands().items() if places in place or "deploy/node" in place
        )
        queues = (*(queue.name for queue in broker.task_queues), "node.${STRATAVORE_NODE}")
        for part in ("daphne", "beat", "nodeagent", *queues):
            assert part in text, f"{places}: nothing runs {part}"


@pytest.mark.parametrize("name", OURS)
def test_the_settings_accept_the_environment_that_compose_gives(name: str) -> None:
    environment = {
        key: re.sub(r"\$\{[A-Z_]+:[?-]([^}]*)\}", filled, value) for key, value in OURS[name]["environment"].items()
    }
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            "import django; django.setup(); from django.conf import settings; print(settings.AMQP_URL)",
        ],
        cwd=PROJECT,
        env={**environment, "DJANGO_SETTINGS_MODULE": "stratavore_site.settings", "STRATAVORE_ENV_FILE": os.devnull},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("amqp://")


def filled(match: re.Match[str]) -> str:
    return match[1] if ":-" in match[0] else "1:a-secret-that-is-long-enough-for-anything"


def test_compose_has_no_secret_in_it() -> None:
    text = (PROJECT / "docker-compose.yml").read_text()
    for line in text.splitlines():
        if re.search(r"(PASSWORD|PASS|SECRET_KEY|AUDIT_KEYS): ", line):
            assert ":?" in line, f"a default for a secret: {line.strip()}"


def test_every_volume_and_dependency_of_compose_is_declared() -> None:
    for service in COMPOSE["services"].values():
        assert set(service.get("depends_on", {})) <= set(COMPOSE["services"])
        assert {volume.split(":")[0] for volume in service.get("volumes", [])} <= set(COMPOSE["volumes"])


def test_the_image_runs_as_an_ordinary_user_from_locked_requirements() -> None:
    lines = (PROJECT / "Dockerfile").read_text().splitlines()
    assert next(line for line in reversed(lines) if line.startswith("USER ")) == "USER stratavore"
    assert any("--require-hashes" in line for line in lines)


@pytest.mark.parametrize("name", ["node-worker", "node-agent"])
def test_stopping_a_nodes_units_leaves_its_runners_alone(name: str) -> None:
    assert unit(PROJECT / "deploy" / f"stratavore-{name}.service")["KillMode"] == "process"
