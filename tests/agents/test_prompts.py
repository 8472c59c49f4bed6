"""Role prompts: placeholders are filled in, and nothing can be run by one."""

import pytest

from agents.exceptions import InvalidAgent
from agents.prompts import check_template, fill_in, render_prompt
from agents.services import comment_on, save_personality
from tests.agents.factories import ACTOR, make_agent, make_job, make_personality
from tests.runners.factories import make_project


@pytest.mark.parametrize(
    "text",
    [
        "{{ job.titel }}",
        "{{ job.title|upper }}",
        "{{ job.__class__ }}",
        "{{ settings.SECRET_KEY }}",
        "{{ 1+1 }}",
        "{{}}",
        "Fine {{ job.title }}.\n{{ job.title",
    ],
)
def test_what_cannot_be_filled_in_is_refused_when_it_is_saved(text: str) -> None:
    with pytest.raises(InvalidAgent) as refusal:
        check_template(text)
    assert refusal.value.facts["field"] == "role_prompt"


@pytest.mark.django_db
def test_a_role_with_a_wrong_prompt_is_not_saved() -> None:
    role = make_personality()
    with pytest.raises(InvalidAgent, match="Line 2"):
        save_personality(role, {"role_prompt": "Hello.\n{{ nobody }}"}, actor=ACTOR)
    assert role.versions.count() == 1


@pytest.mark.parametrize("text", ["{% debug %}", "${HOME}", "$job", "{ job.title }", "%(x)s", "{0.__class__}"])
def test_what_is_no_placeholder_is_just_text(text: str) -> None:
    check_template(text)
    assert fill_in(text, {"job.title": "x"}) == text


def test_braces_themselves_are_written_with_a_backslash() -> None:
    check_template(r"Use \{{ name }} in {{ job.title }}.")
    assert fill_in(r"Use \{{ name }} in {{job.title}}.", {"job.title": "Jinja"}) == "Use {{ name }} in Jinja."


@pytest.mark.django_db
def test_what_a_job_says_is_not_read_as_a_template() -> None:
    project = make_project()
    job = make_job(project, title="{{ project.path }}", description="{{ agent.name }}")
    prompt = render_prompt("Do {{ job.title }}.", project=project, job=job, agent=make_agent())
    assert prompt == "Do {{ project.path }}."


@pytest.mark.django_db
def test_the_task_follows_the_role_with_what_was_said_about_it() -> None:
    project = make_project()
    job = make_job(project, title="Till", description="Jams.")
    comment_on(job.pk, "Mind the drawer.", actor=ACTOR)
    prompt = render_prompt("Be brief.", project=project, job=job, agent=make_agent())
    assert prompt.startswith("Be brief.\n\n# Till\n")
    assert prompt.endswith("What was said about it so far:\n- user:ada: Mind the drawer.")
