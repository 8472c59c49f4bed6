"""No secret reaches the database: what a program prints is redacted before it is read, and counted with its rows."""

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import connection

from runners.backends.base import LaunchRequest
from runners.models import Message, Observation, Redaction, RedactionRule, Runner, Session
from runners.node_agent.attempts import Attempt
from runners.redaction import BUILT_IN
from runners.services import launch_runner
from runners.services.ingest import ingest
from runners.services.redaction import RuleCount, forget_rules, redacted, redactions_of_runners, redactions_of_sessions
from tests.runners.factories import make_node, make_project, make_runner
from tests.runners.redaction.recordings import SECRETS, line
from tests.runners.teller import starting
from tests.runners.teller import teller as teller

pytestmark = pytest.mark.django_db
TOKEN = SECRETS["github_token"]
STARTED = b'{"t": 1.0, "kind": "started", "pid": 42, "start_ticks": 7, "boot_id": "b"}\n'


@pytest.fixture(autouse=True)
def fresh_rules() -> Iterator[None]:
    forget_rules()
    yield
    forget_rules()


def claude(runner_id: str = "s1", **line_: Any) -> bytes:
    return line(json.dumps({"session_id": runner_id, "uuid": "u1", **line_}))


def tell(runner: Runner, directory: Path, *records: bytes) -> None:
    """Write telemetry as the shim does, and read it as the node agent does."""
    with (directory / "telemetry.jsonl").open("ab") as file:
        file.write(b"".join(records))
    attempt = Attempt(runner.pk, runner.generation, directory, Observation.objects.get(runner=runner).telemetry_offset)
    while batch := attempt.next_batch():
        attempt.offset = ingest(batch)


def everything_in_the_database() -> str:
    """Return all rows of all tables as text."""
    found = []
    with connection.cursor() as cursor:
        for model in apps.get_models():
            if not model._meta.managed or model._meta.proxy:
                continue
            cursor.execute(f'SELECT row_to_json(t)::text FROM "{model._meta.db_table}" t')
            found += [row[0] for row in cursor.fetchall()]
    return "\n".join(found)


def test_what_a_program_says_uses_and_fails_with_is_stored_without_its_secrets(tmp_path: Path) -> None:
    runner = starting()
    Runner.objects.filter(pk=runner.pk).update(backend="claude_code")
    answer = [
        {"type": "text", "text": f"I set TOKEN to {TOKEN}."},
        {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": f"export TOKEN={TOKEN}", "n": 1}},
    ]
    result = [{"type": "tool_result", "tool_use_id": "t1", "content": f'{{"password": "hunter22", "x": "{TOKEN}"}}'}]
    tell(
        runner,
        tmp_path,
        STARTED,
        claude(type="assistant", message={"id": "m1", "content": answer}),
        claude(type="user", message={"content": result}),
        line(f"warning: {TOKEN}").replace(b'"stdout"', b'"stderr"'),
        claude(type="result", subtype="error_during_execution", is_error=True, errors=[f"refused: {TOKEN}"]),
        b'{"t": 9.0, "kind": "exit", "code": 1, "signal": null, "reason": "exited"}\n',
    )
    rows = everything_in_the_database()
    assert TOKEN not in rows
    assert "hunter22" not in rows
    texts = list(Message.objects.order_by("pk").values_list("text", flat=True))
    assert texts[0].startswith("I set TOKEN to [github_token]***")
    runner.refresh_from_db()
    assert runner.reason.startswith("refused: [github_token]***")
    counts = redactions_of_runners([runner.pk])[runner.pk]
    assert counts == [RuleCount("github_token", 1, 5), RuleCount("named_secret", 1, 1)]
    assert runner.session is not None
    assert redactions_of_sessions([runner.session.pk]) == {runner.session.pk: counts}


def test_a_batch_that_comes_again_is_not_counted_again(tmp_path: Path) -> None:
    runner = starting()
    (tmp_path / "telemetry.jsonl").write_bytes(STARTED + line(f"a {TOKEN}"))
    batch = Attempt(runner.pk, 1, tmp_path, 0).next_batch()
    assert batch is not None
    for _ in range(2):
        ingest(batch)
    assert Redaction.objects.get().places == 1


def test_a_secret_in_two_batches_is_one_secret_in_two_places(tmp_path: Path) -> None:
    runner = starting()
    tell(runner, tmp_path, STARTED, line(f"a {TOKEN}"))
    tell(runner, tmp_path, line(f"b {TOKEN}"))
    assert redactions_of_runners([runner.pk])[runner.pk] == [RuleCount("github_token", 1, 2)]


def test_a_key_whose_lines_come_one_by_one_is_masked_to_its_end(tmp_path: Path) -> None:
    runner = starting()
    tell(runner, tmp_path, STARTED, line("-----BEGIN OPENSSH PRIVATE KEY-----"))
    attempt = Attempt(runner.pk, 1, tmp_path, Observation.objects.get().telemetry_offset)
    with (tmp_path / "telemetry.jsonl").open("ab") as file:
        file.write(line("b3BlbnNzaC1rZXktdjEAAAAABG5vbmU"))
    batch = attempt.next_batch()
    assert batch is not None
    assert "b3BlbnNz" not in batch.records[0]["text"]


def test_a_prompt_is_stored_without_its_secrets_where_it_is_read_back() -> None:
    make_node()
    request = LaunchRequest(backend="demo", prompt=f"Use {TOKEN} to log in.")
    runner = launch_runner(make_project().name, request, actor="user:ann")
    assert Message.objects.get().text.startswith("Use [github_token]")
    assert Session.objects.get().title.startswith("Use [github_token]")
    assert runner.prompt == request.prompt, "the program gets what was asked for"


def test_a_rule_of_ones_own_and_one_that_is_switched_off() -> None:
    assert redacted(f"badge 123456 {TOKEN}").startswith("badge 123456 [github_token]")
    RedactionRule.objects.create(name="badge", pattern=r"badge (\d{6})")
    RedactionRule.objects.update_or_create(name="github_token", defaults={"is_active": False})
    forget_rules()
    assert redacted(f"badge 123456 {TOKEN}") == f"badge ****** {TOKEN}"


def test_a_rule_that_was_written_past_the_admin_and_makes_no_sense_stops_no_other() -> None:
    RedactionRule.objects.create(name="broken", pattern="(")
    forget_rules()
    assert redacted(TOKEN) != TOKEN


def test_every_rule_that_comes_along_has_its_switch() -> None:
    seeded = import_module("runners.migrations.0021_redactions").BUILT_IN
    assert set(seeded.split()) == {rule.name for rule in BUILT_IN}


def test_redactions_of_nobody_are_none() -> None:
    assert redactions_of_runners([make_runner().pk]) == {}
