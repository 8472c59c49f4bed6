"""The page of a conversation: tools with their results, changes as patches, prose that is safe, and ways through it."""

import re
import time
from html.parser import HTMLParser
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dashboard.prose import Prose
from dashboard.talk import Item, items_of, shown_messages
from dashboard.templatetags.talk import glance
from dashboard.tool_changes import MAX_LINES, change_in, patch_in
from runners.models import Message, Session
from runners.states import Role
from tests.dashboard.talk import Talk
from tests.runners.factories import make_runner

pytestmark = pytest.mark.django_db


@pytest.fixture
def talk() -> Talk:
    return Talk(make_runner(backend="claude_code"))


def items(talk: Talk) -> list[Item]:
    return items_of(shown_messages(Message.objects.filter(session=talk.session)).order_by("pk"))


def page_of(client: Client, session: Session, query: str = "") -> str:
    answer = client.get(f"/sessions/{session.pk}/{query}")
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_result_stands_with_its_call_whatever_comes_between(talk: Talk) -> None:
    talk.call("Bash", {"command": "one"}, "a")
    talk.call("Bash", {"command": "two"}, "b")
    talk.result("Bash", "out of two", "b")
    talk.result("Bash", "out of one", "a", is_error=True)
    first, second = items(talk)
    assert (first.command, first.output, first.is_error) == ("one", "out of one", True)
    assert (second.command, second.output, second.is_error) == ("two", "out of two", False)
    assert first.last_id > second.last_id


def test_without_an_id_a_result_stands_with_the_call_right_before_it(talk: Talk) -> None:
    talk.call("lint", {"x": 1})
    talk.result("lint", "fine")
    talk.result("lint", "another one")
    talk.result("other", "of a tool that nobody called")
    assert [(item.is_result_alone, item.output) for item in items(talk)] == [
        (False, "fine"),
        (True, "another one"),
        (True, "of a tool that nobody called"),
    ]


def test_two_runners_may_give_the_same_id_to_their_calls(talk: Talk) -> None:
    other = Talk(make_runner(session=talk.session, project=talk.session.project))
    talk.call("Bash", {"command": "mine"}, "1")
    other.say(key="o1", tool_name="Bash", tool_input={"command": "theirs"}, call_id="1")
    talk.result("Bash", "for me", "1")
    assert [(item.command, item.output) for item in items(talk)] == [("mine", "for me"), ("theirs", "")]


@pytest.mark.parametrize(
    ("tool", "given", "added", "taken"),
    [
        ("Edit", {"file_path": "/a.py", "old_string": "x\ny\nz", "new_string": "x\nY\nz"}, ["+Y"], ["-y"]),
        ("edit", {"filePath": "/a.py", "oldString": "x", "newString": "y"}, ["+y"], ["-x"]),
        ("replace", {"file_path": "/a.py", "old_string": "x", "new_string": ""}, [], ["-x"]),
        ("Write", {"file_path": "/a.py", "content": "one\ntwo"}, ["+one", "+two"], []),
        ("write_file", {"file_path": "/a.py", "content": "one"}, ["+one"], []),
        (
            "MultiEdit",
            {"file_path": "/a.py", "edits": [{"old_string": "a", "new_string": "b"}, {"old_string": "c"}, 7]},
            ["+b"],
            ["-a", "-c"],
        ),
        (
            "apply_patch",
            {"input": "*** Begin Patch\n*** Update File: /a.py\n@@ def f\n-x\n+y\n z\n*** End Patch"},
            ["+y"],
            ["-x"],
        ),
    ],
)
def test_what_an_editing_tool_changes_is_a_patch(
    tool: str, given: dict[str, Any], added: list[str], taken: list[str]
) -> None:
    patch = change_in(tool, given)
    assert patch is not None
    lines = [line for file in patch.files for line in file.lines]
    assert [file.name for file in patch.files] == ["/a.py"]
    assert [line for kind, line in lines if kind == "add"] == added
    assert [line for kind, line in lines if kind == "del"] == taken


@pytest.mark.parametrize("given", [None, 7, [], "x", {}, {"command": "ls"}, {"content": 7}, {"edits": [None, "x"]}])
def test_what_changes_nothing_is_no_patch(given: object) -> None:
    assert change_in("Write", given) is None


def test_of_a_long_path_its_end_is_told() -> None:
    assert glance({"file_path": "src/till.py"}) == "src/till.py"
    assert glance({"file_path": f"/srv/{'deep/' * 20}shop/till.py"}) == f"…{'/deep' * 7}/shop/till.py"
    assert glance({"path": "x" * 60}) == "x" * 60


def test_a_patch_in_what_a_tool_printed_is_seen_with_and_without_git() -> None:
    first = "--- a/x.py\t2026-01-01\n+++ b/x.py\t2026-01-01\n@@ -1,2 +1,2 @@\n--- old\n+++ new\n same\n"
    plain = f"Done:\n{first}--- p\n+++ q\n@@ -0,0 +1 @@\n+x\n"
    patch = patch_in(plain)
    assert patch is not None
    assert [file.name for file in patch.files] == ["x.py", "q"]
    assert [kind for kind, _ in patch.files[0].lines] == ["hunk", "del", "add", "same"]
    git = patch_in("$ git diff\ndiff --git a/y b/y\n--- a/y\n+++ b/y\n@@ -1 +1 @@\n-a\n+b\n")
    assert git is not None
    assert [file.name for file in git.files] == ["y"]
    assert patch_in("+++ not a patch\n--- at all") is None


def test_a_huge_change_is_cut_and_soon_done() -> None:
    given = {"file_path": "x", "old_string": "a\n" * 50_000, "new_string": "b" * 100_000 + "\n" + "c\n" * 50_000}
    patch = change_in("Edit", given)
    assert patch is not None
    assert patch.cut
    assert sum(len(file.lines) for file in patch.files) == MAX_LINES


EVIL = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](&#106;avascript:alert(1))",
    "![x](https://evil.example/pixel.png)",
    "<javascript:alert(1)>",
    "```<script>\nx\n```",
    '``` x"onmouseover=alert(1)\nx\n```',
    '[x](https://a.example "\\"onmouseover=alert(1) ")',
    "| <b>a</b> |\n|-|\n| <i>x</i> |",
    "[x]: javascript:alert(1)\n\n[x]",
    "</li></ol><script>alert(1)</script>",
]


class Found(HTMLParser):
    """The elements, attributes and addresses that a browser would see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.addresses: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.addresses += [value or "" for name, value in attrs if name in {"href", "src"}]


@pytest.mark.parametrize("text", EVIL)
def test_prose_lets_nothing_through_but_its_own_mark_up(text: str) -> None:
    found = Found(Prose().html(text))
    assert found.tags <= {"p", "a", "pre", "code", "table", "thead", "tbody", "tr", "th", "td"}
    assert found.attributes <= {"href", "rel", "target", "class", "title"}
    assert all(address.startswith(("https://", "mailto:")) for address in found.addresses)


@pytest.mark.parametrize("role", Role.values)
def test_whatever_is_printed_is_text_on_the_page(client: Client, talk: Talk, role: str) -> None:
    for text in EVIL:
        talk.say(text, Role(role))
        talk.use("Bash</code><script>alert(2)</script>", {"command": text, "file_path": text}, text)
        talk.use("Edit", {"file_path": text, "old_string": text, "new_string": f"{text}!"}, text)
    page = page_of(client, talk.session)
    assert "<script>alert" not in page
    assert "<img" not in page
    assert not re.search(r"<[^>]*\son\w+=", page), "no handler in an attribute"
    assert not re.search(r'href="(?!/|\?|#|https://|mailto:)', page)


def test_prose_is_marked_up() -> None:
    html = Prose().html("# Done\n\n- `a`\n- **b**\n\n```py\nx < 1\n```\n\nSee [it](https://a.example).")
    assert "<h1>Done</h1>" in html
    assert "<li><code>a</code></li>" in html
    assert "x &lt; 1" in html
    assert 'rel="noopener noreferrer nofollow"' in html


def test_texts_made_to_take_long_are_shown_as_written_when_the_time_of_the_page_is_up() -> None:
    prose = Prose(seconds=0.2)
    slow = ["[" * 15_000 + str(number) for number in range(40)]
    began = time.thread_time()
    shown = [prose.html(text) for text in slow]
    assert 'class="as-written"' in shown[-1]
    assert sum('class="as-written"' in html for html in shown) > len(shown) // 2, f"{time.thread_time() - began:.1f} s"


def test_ten_thousand_messages_are_read_a_page_at_a_time(client: Client, talk: Talk) -> None:
    talk.much(10_000)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        page = page_of(client, talk.session)
    assert len(queries) < 40
    assert page.count('class="message ') == 200
    assert "Saying number 10000." in page
    assert page.count('title="') >= 60, "the line of its time"
    before = re.search(r'rel="prev" href="\?before=(\d+)"', page)
    assert before
    page = page_of(client, talk.session, f"?before={before[1]}")
    assert "Saying number 9800." in page
    after = re.search(r'rel="next" href="\?after=(\d+)"', page)
    assert after
    assert "Saying number 9801." in page_of(client, talk.session, f"?after={after[1]}")


def test_a_time_leads_to_what_was_said_then(client: Client, talk: Talk) -> None:
    talk.much(1_000)
    at = Message.objects.get(text="Saying number 300.").at
    page = page_of(client, talk.session, f"?at={at:%Y-%m-%dT%H:%M:%S.%f}")
    assert "Saying number 300." in page
    assert "Saying number 500." not in page
    assert "Saying number 1000." in page_of(client, talk.session, "?at=9999-01-01T00:00")
    for nonsense in ("x", "2026-13-01T00:00", "0001-01-01T00:00+14:00", ""):
        page_of(client, talk.session, f"?at={nonsense}")


def test_who_what_tool_and_errors_narrow_it_and_lead_back(client: Client, talk: Talk) -> None:
    talk.ask("Please look.")
    talk.use("Bash", {"command": "find the-file"}, "x.py")
    talk.use("Read", {"file_path": "x.py"}, "no such file", is_error=True)
    talk.say("I looked.")
    assert {"Bash (1)", "Read (1)"} <= set(re.findall(r">(\w+ \(\d+\))</option>", page_of(client, talk.session)))
    only = page_of(client, talk.session, "?tool=Bash")
    assert ("x.py</pre>" in only, "I looked." in only) == (True, False)
    assert "Please look." in page_of(client, talk.session, "?role=user").partition("live-talk")[2]
    failed = page_of(client, talk.session, "?errors=1").partition("<live-talk")[2].partition("</live-talk>")[0]
    assert ("no such file" in failed, "the-file" in failed) == (True, False)
    error = Message.objects.get(is_error=True)
    assert f'href="?around={error.pk}#m{error.pk}"' in page_of(client, talk.session)
    for query in ("?role=nobody", "?tool=%00", "?around=99999999999999999999", "?before=x", "?after=-1"):
        page_of(client, talk.session, query)


def test_a_huge_output_is_folded_and_can_be_seen_whole(client: Client, talk: Talk) -> None:
    text = "line of output\n" * 20_000
    talk.use("Bash", {"command": "make"}, text)
    page = page_of(client, talk.session)
    assert len(page) < 60_000
    assert "300,000 characters" in page
    result = Message.objects.get(role=Role.TOOL)
    whole = client.get(f"/sessions/{talk.session.pk}/messages/{result.pk}/").content.decode()
    assert whole.count("line of output") == 20_000
    assert client.get(f"/sessions/{make_runner().session_id}/messages/{result.pk}/").status_code == 404


def test_news_come_as_a_piece_that_names_the_calls_they_belong_to(client: Client, talk: Talk) -> None:
    call = talk.call("Bash", {"command": "make"}, "c1")
    result = talk.result("Bash", "made", "c1")
    news = client.get(f"/sessions/{talk.session.pk}/messages/?after={call.pk}").content.decode()
    assert f'data-message="{result.pk}" data-call="c1" data-result' in news
