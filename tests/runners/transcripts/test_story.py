"""A run with every process real: stored as it goes, its node agent killed, complete and redacted in the end."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runners.backends.base import LaunchRequest
from runners.models import Message, Runner, Transcript
from runners.node_agent.keeper import FILES, KEPT
from runners.services import launch_runner
from runners.services.redaction import redactions_of_runners
from runners.services.transcripts.read import find_transcript, read_text
from runners.states import TranscriptKind
from tests.runners.factories import make_project
from tests.runners.redaction.recordings import SECRETS, printed, redactor
from tests.runners.transcripts.conftest import use
from tests.stack import Stack, wait_until

TOKEN = SECRETS["github_token"]
#: Prints and reports a secret, in two pieces and as a message; goes on when it is told to.
SCRIPT = f"""
printf 'first {TOKEN[:12]}'; sleep 0.3; printf '{TOKEN[12:]}\\n'
printf '%s\\n' '{{"type": "message", "id": "1", "role": "assistant", "text": "It is {TOKEN}."}}' > "$STRATAVORE_REPORT"
until [ -e go ]; do sleep 0.1; done
echo second
"""


@pytest.fixture
def storing_stack(make_stack: Callable[..., Stack], settings: Any, tmp_path: Path) -> Stack:
    """Processes that store in a directory of the test's, each second."""
    use(settings, "LocalTranscripts", location=str(tmp_path / "kept"))
    stack = make_stack(TRANSCRIPT_STORAGE=str(tmp_path / "kept"), TRANSCRIPT_PART_SECONDS="1")
    stack.start_runners()
    return stack


def test_a_run_is_stored_redacted_and_whole_though_its_node_agent_was_killed(storing_stack: Stack) -> None:
    stack, project = storing_stack, make_project()
    request = LaunchRequest(backend="command", argv=["bash", "-c", SCRIPT])
    runner = launch_runner(project.name, request, actor="user:ada")

    def has_begun() -> Transcript | None:
        found = Transcript.objects.filter(runner=runner, kind=TranscriptKind.OUTPUT, size_bytes__gt=150).first()
        return found if found is not None and not found.is_complete else None

    wait_until(has_begun, "its beginning is stored while it runs")
    stack.kill("node agent")
    (Path(project.path) / "go").touch()
    stack.start("node agent")
    runner = stack.wait_for(runner, "terminated", "failed")
    directory = stack.run_directory(runner)
    wait_until((directory / KEPT).exists, "all of it is stored")
    for kind in TranscriptKind:
        transcript = find_transcript(runner.pk, 1, kind)
        assert transcript.is_complete
        stored, raw = b"".join(read_text(transcript)), (directory / FILES[kind]).read_bytes()
        redact = redactor().cast if kind == TranscriptKind.OUTPUT else redactor().telemetry
        assert stored == redact(raw)[0]
        assert TOKEN.encode() not in stored
        assert all(isinstance(json.loads(line), dict | list) for line in stored.splitlines())
        if kind == TranscriptKind.OUTPUT:
            assert TOKEN in printed(raw.split(b"\n", 1)[1])
            assert printed(stored.split(b"\n", 1)[1]).splitlines() == [f"first {'*' * len(TOKEN)}", "second"]
    message = Message.objects.get(runner=runner, role="assistant")
    assert message.text.startswith("It is [github_token]***")
    assert {count.rule: count.secrets for count in redactions_of_runners([runner.pk])[runner.pk]} == {"github_token": 1}
    assert Runner.objects.get(pk=runner.pk).exit_code == 0
