"""The recordings of a node come into storage byte for byte but for their secrets, whatever is killed or away."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runners.exceptions import StorageAway
from runners.models import Redaction, Runner, Transcript, TranscriptPart
from runners.node_agent import keeper as keeping
from runners.node_agent.keeper import KEPT, Keeper
from runners.services.transcripts import shelf
from runners.services.transcripts.read import find_transcript, read_text
from runners.services.transcripts.store import enter_all
from runners.shim import rundir
from runners.states import TranscriptKind
from tests.runners.factories import make_runner
from tests.runners.redaction.recordings import SECRETS, event, line, printed, redactor
from tests.runners.transcripts.conftest import use
from tests.s3 import BUCKET, S3

pytestmark = pytest.mark.django_db
OUTPUT, TELEMETRY = TranscriptKind.OUTPUT, TranscriptKind.TELEMETRY
TOKEN = SECRETS["github_token"]
HEADER = b'{"version": 2, "width": 120, "height": 32, "timestamp": 1764000000, "env": {"TERM": "xterm-256color"}}\n'


class Node:
    """The run directory of one attempt, and node agents that come and go."""

    def __init__(self, runs: Path, runner: Runner) -> None:
        self.runs = runs
        self.runner = runner
        self.directory = runs / f"{runner.pk.hex}.{runner.generation}"
        self.directory.mkdir(parents=True)
        self.print(HEADER)
        self.restart()

    def restart(self) -> None:
        """Forget everything that is in memory."""
        self.keeper = Keeper(self.runs)

    def print(self, *events: bytes) -> None:
        with (self.directory / rundir.OUTPUT).open("ab") as file:
            file.write(b"".join(events))

    def tell(self, *records: bytes) -> None:
        with (self.directory / rundir.TELEMETRY).open("ab") as file:
            file.write(b"".join(records))

    def end(self) -> None:
        self.tell(b'{"t": 9.0, "kind": "exit", "code": 0, "signal": null, "reason": "exited"}\n')
        rundir.write_exit(str(self.directory), {"code": 0})

    def round(self) -> None:
        self.keeper.look()
        self.keeper.round()

    def file(self, kind: TranscriptKind = OUTPUT) -> bytes:
        return (self.directory / keeping.FILES[kind]).read_bytes()

    def transcript(self, kind: TranscriptKind = OUTPUT) -> Transcript:
        return find_transcript(self.runner.pk, self.runner.generation, kind)

    def stored(self, kind: TranscriptKind = OUTPUT) -> bytes:
        return b"".join(read_text(self.transcript(kind)))

    def is_kept(self) -> bool:
        return (self.directory / KEPT).exists()


@pytest.fixture
def node(directory: Path, tmp_path: Path, settings: Any) -> Node:
    settings.TRANSCRIPT_PART_SECONDS = 0
    return Node(tmp_path / "runs", make_runner())


def test_a_run_is_stored_as_it_goes_and_complete_when_it_has_ended(node: Node) -> None:
    node.print(event("hello "), event("world\r\n"))
    node.tell(line("hello world"))
    node.round()
    assert node.stored() == node.file()
    assert not node.transcript().is_complete
    node.print(event("bye\r\n"))
    node.end()
    node.round()
    for kind in TranscriptKind:
        assert node.stored(kind) == node.file(kind)
        assert node.transcript(kind).is_complete
    assert node.is_kept()
    assert not node.keeper.open


def test_what_is_little_waits_until_it_is_much_or_old(node: Node, settings: Any) -> None:
    settings.TRANSCRIPT_PART_SECONDS, settings.TRANSCRIPT_PART_KB = 3600, 64
    node.print(event("hello\r\n"))
    node.round()
    assert not Transcript.objects.exists()
    node.print(*[event("x" * 1000 + "\r\n")] * 100)
    node.round()
    assert 64 * 1024 <= node.transcript().size_bytes < len(node.file())
    node.end()
    node.round()
    assert node.stored() == node.file()
    assert TranscriptPart.objects.filter(transcript=node.transcript()).count() == 2


def test_secrets_are_masked_in_both_files_and_counted_once(node: Node) -> None:
    node.print(event(f"token {TOKEN}\r\n"))
    node.tell(line(f"token {TOKEN}"))
    node.end()
    node.round()
    for kind in TranscriptKind:
        assert TOKEN.encode() not in node.stored(kind)
        assert len(node.stored(kind)) == len(node.file(kind))
    rows = Redaction.objects.values_list("kind", "rule", "places").order_by("kind")
    assert list(rows) == [(OUTPUT, "github_token", 1), (TELEMETRY, "github_token", 1)]
    assert len(set(Redaction.objects.values_list("fingerprint", flat=True))) == 1, "it is one secret"


def test_the_beginning_of_a_secret_waits_for_its_end(node: Node) -> None:
    node.print(event("token "), event(TOKEN[:10]))
    node.round()
    assert printed(node.stored().split(b"\n", 1)[1]) == "token "
    node.print(event(TOKEN[10:]), event("\r\n$ "))
    node.round()
    assert printed(node.stored().split(b"\n", 1)[1]) == "token " + "*" * len(TOKEN) + "\r\n$ "


def test_a_secret_that_ends_where_the_next_word_begins_is_masked_while_that_word_waits(node: Node) -> None:
    """The word may be a secret's beginning, and its event, which has this one's end, is left for the next round."""
    node.print(event(TOKEN[:15]), event(TOKEN[15:30]), event(f"{TOKEN[30:]} {'y' * 100}"), event("y" * 100))
    node.round()
    assert printed(node.stored().split(b"\n", 1)[1]) == "[github_token]" + "*" * 16
    node.end()
    node.round()
    assert node.stored() == redactor().cast(node.file())[0]
    assert Redaction.objects.get(kind=OUTPUT).places == 1


def test_a_secret_across_the_border_of_two_parts_is_masked_on_both_sides(node: Node, settings: Any) -> None:
    settings.TRANSCRIPT_PART_KB = 64
    filler = [event("x" * 1000 + "\r\n")] * 62
    room = 64 * 1024 - len(HEADER) - sum(map(len, filler)) - 60
    node.print(*filler, event(" " * room + TOKEN[:8]), event(TOKEN[8:20]), event(TOKEN[20:] + "\r\n"))
    node.end()
    node.round()
    parts = TranscriptPart.objects.filter(transcript=node.transcript())
    assert parts.count() == 2
    assert TOKEN[20:].encode() not in node.stored()
    assert TOKEN[:8] not in printed(node.stored().split(b"\n", 1)[1])
    assert Redaction.objects.get(kind=OUTPUT).places == 1


def test_a_key_that_is_printed_over_many_rounds_is_masked_to_its_end(node: Node) -> None:
    node.print(event("-----BEGIN RSA PRIVATE KEY-----\r\n"))
    for number in range(20):
        node.print(event(f"MIIEowIBAAKCAQEA{number:04}c2VjcmV0b2ZhbGxvZnVz\r\n"))
        if number % 3 == 0:
            node.restart()
        node.round()
    node.print(event("-----END RSA PRIVATE KEY-----\r\ndone\r\n"))
    node.end()
    node.round()
    text = printed(node.stored().split(b"\n", 1)[1])
    assert "MII" not in text
    assert text.count("\r\n") == 23
    assert text.endswith("-----END RSA PRIVATE KEY-----\r\ndone\r\n")
    assert Redaction.objects.filter(kind=OUTPUT).count() == 1


def test_an_attempt_that_never_printed_anything_is_kept_too(tmp_path: Path, directory: Path) -> None:
    runner = make_runner()
    run = tmp_path / "runs" / f"{runner.pk.hex}.1"
    run.mkdir(parents=True)
    (run / rundir.TELEMETRY).write_bytes(b'{"t": 9.0, "kind": "exit", "code": null, "reason": "never_started"}\n')
    rundir.write_exit(str(run), {"code": None})
    node = Keeper(tmp_path / "runs")
    node.look()
    node.round()
    assert (run / KEPT).exists()
    assert [transcript.kind for transcript in Transcript.objects.all()] == [TELEMETRY]


def test_a_runner_that_the_database_does_not_know_is_left_alone(node: Node) -> None:
    node.end()
    Runner.objects.filter(pk=node.runner.pk).delete()
    node.round()
    assert not node.is_kept()
    (recording,) = node.keeper.open.values()
    assert recording.aside_until > 0


def test_a_recording_that_cannot_be_read_holds_up_no_other(node: Node) -> None:
    broken = make_runner()
    directory = node.runs / f"{broken.pk.hex}.1"
    (directory / rundir.OUTPUT).mkdir(parents=True)
    rundir.write_exit(str(directory), {"code": 0})
    (directory / rundir.TELEMETRY).write_bytes(b'{"t": 9.0, "kind": "exit", "code": 0, "reason": "exited"}\n')
    node.print(event("hello\r\n"))
    node.end()
    for _ in range(2):
        node.round()
    assert node.is_kept()
    assert not (directory / KEPT).exists()


#: Where the node agent may die: before and after each thing that leaves a trace.
DEATHS = {
    "before storage": (shelf, "put", "before"),
    "between storage and database": (shelf, "put", "after"),
    "before the row": (keeping, "enter_all", "before"),
    "after the row": (keeping, "enter_all", "after"),
    "before it is complete": (keeping, "complete", "before"),
    "after it is complete": (keeping, "complete", "after"),
    "before strays are removed": (keeping, "sweep", "before"),
    "before the mark": (keeping, "sweep", "after"),
}


class Killed(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


def dying(work: Callable[..., Any], when: str) -> Callable[..., Any]:
    def die(*args: Any, **options: Any) -> None:
        if when == "after":
            work(*args, **options)
        raise Killed

    return die


@pytest.mark.parametrize("death", DEATHS)
def test_a_node_agent_killed_at_any_point_stores_nothing_twice_and_skips_nothing(
    node: Node, death: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name, when = DEATHS[death]
    for number in range(3):
        node.print(event(f"{number} {TOKEN}\r\n"))
        node.tell(line(f"{number} {TOKEN}"))
        if number == 2:
            node.end()
        with monkeypatch.context() as patch:
            patch.setattr(module, name, dying(getattr(module, name), when))
            try:
                node.round()
            except Killed:
                node.restart()
        node.print(event(f"{number} more\r\n")) if number < 2 else None
    node.restart()
    node.round()
    assert node.is_kept()
    for kind in TranscriptKind:
        assert node.stored(kind) == getattr(redactor(), "cast" if kind == OUTPUT else "telemetry")(node.file(kind))[0]
        parts = TranscriptPart.objects.filter(transcript=node.transcript(kind))
        folder = shelf.folder(node.runner.pk, 1, kind)
        assert set(shelf.names(folder)) == {part.name for part in parts}, "no stray is left"
        assert Redaction.objects.get(kind=kind).places == 3


def test_two_node_agents_over_one_directory_store_each_byte_once(node: Node) -> None:
    other = Keeper(node.runs)
    for number in range(4):
        node.print(event(f"{number}\r\n"))
        for keeper in (node.keeper, other) if number % 2 else (other, node.keeper):
            keeper.look()
            keeper.round()
    node.end()
    for keeper in (node.keeper, other):
        keeper.look()
        keeper.round()
    assert node.stored() == node.file()
    assert node.is_kept()


def test_a_storage_that_is_away_delays_and_loses_nothing(
    settings: Any, tmp_path: Path, s3: S3, own_s3: S3, request: pytest.FixtureRequest
) -> None:
    settings.TRANSCRIPT_PART_SECONDS = 0
    use(settings, "S3Transcripts", bucket_name=BUCKET, endpoint_url=own_s3.url)
    node = Node(tmp_path / "runs", make_runner())
    node.print(event("while it is away\r\n"))
    node.round()
    assert not Transcript.objects.exists()
    own_s3.start()
    node.print(event("and back\r\n"))
    node.round()
    assert node.stored() == node.file()
    own_s3.stop()
    node.print(event("away again\r\n"))
    node.end()
    node.round()
    assert not node.is_kept()


@pytest.fixture
def own_s3(tmp_path: Path) -> Any:
    server = S3(tmp_path)
    yield server
    server.stop()


def test_a_run_on_s3_is_complete_and_what_was_stored_in_vain_is_removed(
    settings: Any, tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRANSCRIPT_PART_SECONDS = 0
    node = Node(tmp_path / "runs", make_runner())
    node.print(event("one\r\n"))
    with monkeypatch.context() as patch:
        patch.setattr(keeping, "enter_all", dying(enter_all, "before"))
        with pytest.raises(Killed):
            node.round()
    node.restart()
    node.print(event("two\r\n"))
    node.end()
    node.round()
    assert node.is_kept()
    assert node.stored() == node.file()
    ours = [key for key in s3.objects() if f"{node.runner.pk.hex}/1/output" in key]
    assert len(ours) == 1


def test_a_database_that_is_away_delays_and_loses_nothing(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OperationalError("the connection is lost")

    node.print(event("hello\r\n"))
    with monkeypatch.context() as patch:
        patch.setattr(keeping, "enter_all", away)
        node.round()
    assert not Transcript.objects.exists()
    node.round()
    assert node.stored() == node.file()


@pytest.fixture
def small_parts(settings: Any) -> None:
    """Stored at once, a kilobyte a part. Set once: each setting lies over those before it."""
    settings.TRANSCRIPT_PART_SECONDS = 0
    settings.TRANSCRIPT_PART_KB = 1


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_way_of_growing_stopping_and_starting_gives_the_same_transcript(
    data: st.DataObject, directory: Path, tmp_path_factory: pytest.TempPathFactory, small_parts: None
) -> None:
    node = Node(tmp_path_factory.mktemp("runs"), make_runner())
    text = data.draw(st.lists(st.sampled_from(["x", " ", "\r\n", TOKEN, "\x1b[31m", "é" * 50, "y" * 600]), max_size=12))
    whole = "".join(text) + " end\r\n"
    while whole:
        size = data.draw(st.integers(15, 400))
        node.print(event(whole[:size]))
        whole = whole[size:]
        if data.draw(st.booleans()):
            node.restart()
        if data.draw(st.booleans()):
            node.round()
    node.end()
    while not node.is_kept():
        node.round()
    assert node.stored() == redactor().cast(node.file())[0]
    assert TOKEN not in printed(node.stored().split(b"\n", 1)[1])
    events = [json.loads(each) for each in node.stored().splitlines()[1:]]
    assert [each[:2] for each in events] == [json.loads(each)[:2] for each in node.file().splitlines()[1:]]


def test_a_storage_that_never_answers_does_not_keep_the_node_agent_from_ending(tmp_path: Path, settings: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        use(settings, "S3Transcripts", bucket_name=BUCKET, endpoint_url=f"http://127.0.0.1:{deaf.getsockname()[1]}")
        (tmp_path / "runs").mkdir()
        with keeping.keeping(tmp_path / "runs"):
            pass


def several(node: Node, count: int) -> list[Node]:
    """Return the runs of more runners on the same node, ended, with something in both files."""
    runs = [Node(node.runs, make_runner()) for _ in range(count)]
    for number, run in enumerate(runs):
        run.print(event(f"{number}\r\n"))
        run.end()
    return runs


def test_many_recordings_take_no_more_statements_than_two(node: Node, django_assert_max_num_queries: Any) -> None:
    for count in (2, 30):
        runs = several(node, count)
        with django_assert_max_num_queries(16):
            node.round()
        for run in runs:
            assert run.is_kept()
            assert all(run.stored(kind) == run.file(kind) for kind in TranscriptKind)


def test_many_that_wait_for_a_storage_that_is_away_are_due_until_it_is_back(
    node: Node, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> str:
        raise StorageAway("away")

    runs = [Node(node.runs, make_runner()) for _ in range(5)]
    for run in runs:
        run.print(event("hello\r\n"))
    settings.TRANSCRIPT_PART_SECONDS = 30
    node.keeper.look()
    files = [file for recording in node.keeper.open.values() for file in recording.files if file.path.exists()]
    for file in files:
        file.stored_at -= 60
    with monkeypatch.context() as patch:
        patch.setattr(shelf, "put", away)
        node.keeper.round()
    assert node.keeper._backoff > 0
    assert all(file.is_due() for file in files)
    node.keeper.round()
    assert [run.stored() for run in runs] == [run.file() for run in runs]
    assert not any(file.is_due() for file in files)


def test_of_many_recordings_one_that_is_not_known_holds_up_no_other(node: Node) -> None:
    runs = several(node, 5)
    Runner.objects.filter(pk=runs[2].runner.pk).delete()
    node.round()
    assert [run.is_kept() for run in runs] == [True, True, False, True, True]
