"""Settings come from the environment; each is documented, and a bad one is refused by name."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
GOOD = {
    "SECRET_KEY": "s" * 50,
    "AUDIT_KEYS": "1:" + "a" * 50,
    "DATABASE_URL": "postgres://u:p@localhost/name",
    "REDIS_URL": "redis://localhost/0",
    "STRATAVORE_ENV_FILE": os.devnull,
}


def start(**changes: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in {**GOOD, **changes}.items() if value}
    return subprocess.run(
        [sys.executable, "manage.py", "diffsettings"],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"DATABASE_URL": ""}, "DATABASE_URL is not set: "),
        ({"REDIS_URL": "localhost:6379"}, "REDIS_URL must start with redis://"),
        ({"SECRET_KEY": ""}, "SECRET_KEY is not set: "),
        ({"SECRET_KEY": "short"}, "SECRET_KEY is too short"),
        ({"AUDIT_KEYS": ""}, "AUDIT_KEYS is not set: "),
        ({"AUDIT_KEYS": "a" * 50}, "AUDIT_KEYS must look like <id>:<key>"),
        ({"STRATAVORE_NODE_SLOTS": "many"}, "STRATAVORE_NODE_SLOTS must be a whole number, not 'many'."),
        ({"STRATAVORE_WORKSPACE_ROOTS": "work"}, "STRATAVORE_WORKSPACE_ROOTS must hold absolute paths"),
        ({"STRATAVORE_CONTAINER_ENGINE": "tcp://far:2375"}, "STRATAVORE_CONTAINER_ENGINE must be a unix socket"),
        ({"TRANSCRIPT_STORAGE": "kept"}, "TRANSCRIPT_STORAGE must be an absolute directory or s3://"),
        ({"TRANSCRIPT_STORAGE": "s3://"}, "TRANSCRIPT_STORAGE names no bucket"),
        ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL must be one of "),
    ],
)
def test_a_bad_setting_ends_the_command_with_one_sentence_that_names_it(changes: dict[str, str], sentence: str) -> None:
    result = start(**changes)
    assert result.returncode == 1
    assert result.stderr.startswith(sentence)
    assert result.stderr.count("\n") == 1


def test_good_settings_are_accepted() -> None:
    assert start().returncode == 0


def test_every_variable_is_documented_and_every_documented_one_is_read() -> None:
    code = "".join((PROJECT / "stratavore_site" / name).read_text() for name in ("settings.py", "environment.py"))
    read = set(re.findall(r'(?:environment\.\w+|env\.str|environ\.get)\(\s*"([A-Z_]+)"', code))
    sections = (PROJECT / "docs" / "settings.md").read_text().split("## What `make up`")[0]
    documented = set(re.findall(r"^\| `([A-Z_]+)`", sections, re.MULTILINE))
    assert documented == read
