"""The page of search, and the way from a hit to its message."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from runners.models import Session
from tests.dashboard.conftest import signed_in
from tests.runners.factories import make_project, make_runner
from tests.runners.test_search import NOON, say

pytestmark = pytest.mark.django_db


def test_a_hit_is_marked_escaped_and_leads_to_its_message(client: Client) -> None:
    runner = make_runner()
    first = say(runner, "the <script>alert(1)</script> crane", role="tool", tool_name="Bash")
    for n in range(250):
        say(runner, f"later {n}")
    page = client.get("/search/", {"q": "crane"}).content.decode()
    assert "<mark>crane</mark>" in page
    assert "&lt;script&gt;alert(1)" in page
    (link,) = re.findall(r'class="hit" href="([^"]+)"', page)
    assert link == f"/sessions/{runner.session_id}/?around={first.pk}#m{first.pk}"
    conversation = client.get(link).content.decode()
    assert f'id="m{first.pk}"' in conversation
    assert "<details open>" in conversation
    assert "later 249" not in conversation


def test_a_hit_near_the_end_shows_the_end_and_goes_on_living(client: Client) -> None:
    runner = make_runner()
    said = say(runner, "crane")
    conversation = client.get(f"/sessions/{runner.session_id}/", {"around": str(said.pk)}).content.decode()
    assert f'id="m{said.pk}"' in conversation
    assert "data-frozen" not in conversation


def test_from_a_hit_its_session_is_gone_on_with_at_that_message(client: Client, reader: User) -> None:
    project = make_project()
    runner = make_runner(
        backend="claude_code", session=Session.objects.create(project=project, backend="claude_code"), project=project
    )
    said = say(runner, "a crane")
    say(runner, "what followed")
    page = client.get("/search/", {"q": "crane"}).content.decode()
    links = re.findall(r'href="(/launch/[^"]+)"', page.partition('class="hit-acts"')[2])
    resume, fork = [link.replace("&amp;", "&") for link in links]
    assert resume == f"/launch/?session={runner.session_id}&at={said.pk}"
    assert fork == f"{resume}&fork=1"
    form = client.get(fork).context["form"]
    assert (str(form["session_id"].value()), str(form["at"].value())) == (str(runner.session_id), str(said.pk))
    say(make_runner(backend="demo", project=project), "a heron")
    assert "hit-acts" not in client.get("/search/", {"q": "heron"}).content.decode(), "such a program cannot go on"
    assert "hit-acts" not in signed_in(reader).get("/search/", {"q": "crane"}).content.decode()


def test_filters_stay_chosen_from_page_to_page(client: Client) -> None:
    project = make_project(name="shop")
    for _ in range(11):
        say(make_runner(project=project, agent_name="ada"), "crane")
    say(make_runner(), "crane")
    asked = {"q": "crane", "project": "shop", "agent": "ada", "since": "2026-03-01", "until": "2026-03-01"}
    page = client.get("/search/", asked).content.decode()
    assert "11 sessions" in page
    assert "<option selected>shop</option>" in page
    assert "<option selected>ada</option>" in page
    (link,) = re.findall(r'rel="next" href="([^"]+)"', page)
    second = client.get("/search/" + link.replace("&amp;", "&")).content.decode()
    assert second.count('class="hit"') == 1


def test_a_day_ends_with_its_last_moment(client: Client) -> None:
    say(make_runner(), "crane", at=NOON)
    for asked, finds in (
        ({"until": "2026-03-01"}, True),
        ({"until": "2026-02-28"}, False),
        ({"since": "2026-03-02"}, False),
    ):
        assert (b'class="hit"' in client.get("/search/", {"q": "crane", **asked}).content) is finds


@pytest.mark.parametrize(
    "asked",
    [{"q": "the"}, {"q": "\x00"}, {"q": '"<b>'}, {"q": "x" * 5000}, {"q": "a", "since": "2026-02-31"},
     {"q": "a", "until": "9999-12-31"}, {"q": "a", "role": "pope", "tool": "\x00", "project": "no such"},
     {"q": "a", "page": "minus one"}],
)  # fmt: skip
def test_odd_input_finds_nothing_and_says_so(client: Client, asked: dict[str, str]) -> None:
    response = client.get("/search/", asked)
    assert response.status_code == 200
    assert "Nothing found" in response.content.decode() or "Search all sessions" in response.content.decode()


def test_a_title_is_escaped(client: Client) -> None:
    runner = make_runner()
    say(runner, "crane")
    Session.objects.filter(runners=runner).update(title="<img src=x>")
    assert "<img src=x>" not in client.get("/search/", {"q": "crane"}).content.decode()
