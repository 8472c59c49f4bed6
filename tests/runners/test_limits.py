"""Limits of projects and launches: who may set what, and what comes of them. The shim has its own tests."""

from pathlib import Path
from typing import Any

import pytest

from outbox.models import AuditEntry
from runners.backends.base import LaunchRequest
from runners.exceptions import InvalidRequest
from runners.models import Project, Runner
from runners.services import launch_runner, restart_runner
from runners.services.limits import check_limits, limits_in_force, limits_of_project, rlimits, set_limits
from runners.services.projects import change_project
from runners.services.start import specification
from runners.states import RunnerStatus
from runners.transitions import move
from tests.callers import operator
from tests.runners.factories import make_node, make_project
from tests.stack import Stack, wait_until

S = RunnerStatus
db = pytest.mark.django_db


def launch(project: Project, **limits: int) -> Runner:
    request = LaunchRequest(backend="command", argv=["true"], limits=limits)
    return launch_runner(project.name, request, actor="user:ada")


@db
def test_what_holds_is_the_tighter_of_project_and_launch() -> None:
    make_node()
    project = make_project()
    set_limits(project, {"memory_mb": 2048, "wall_seconds": 600})
    runner = launch(project, memory_mb=512, processes=10)
    assert limits_in_force(runner) == {"memory_mb": 512, "wall_seconds": 600, "processes": 10}
    set_limits(project, {"memory_mb": 100, "wall_seconds": None})
    assert limits_in_force(runner) == {"memory_mb": 100, "processes": 10}
    spec = specification(runner)
    assert spec["limits"] == {"memory_mb": 100, "processes": 10}
    assert spec["rlimits"] == {"core": 0}


@db
def test_without_any_limit_there_is_none() -> None:
    make_node()
    runner = launch(make_project())
    assert (limits_in_force(runner), specification(runner)["limits"]) == ({}, {})


def test_the_kernel_holds_open_files_and_as_a_net_below_the_watch_cpu_time() -> None:
    assert rlimits({"open_files": 64, "cpu_seconds": 60, "memory_mb": 5}) == {"core": 0, "nofile": 64, "cpu": 65}


@db
@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"memory_mb": 4096}, "memory_mb may be at most 2048 in shop, not 4096"),
        ({"memory": 5}, "There is no limit 'memory'; there are memory_mb, "),
        ({"processes": 0}, "processes must be a whole number from 1 on, not 0"),
        ({"wall_seconds": 1.5}, "wall_seconds must be a whole number"),
        ({"wall_seconds": True}, "wall_seconds must be a whole number"),
        ({"idle_seconds": "9"}, "idle_seconds must be a whole number"),
        ({"cpu_seconds": 2**40}, "cpu_seconds must be a whole number"),
    ],
)
def test_a_looser_limit_and_one_that_is_none_are_refused(asked: dict[str, Any], sentence: str) -> None:
    make_node()
    project = make_project(name="shop")
    set_limits(project, {"memory_mb": 2048})
    with pytest.raises(InvalidRequest, match=sentence) as refusal:
        launch(project, **asked)
    assert refusal.value.facts["field"] == "limits"
    check_limits(project, {"memory_mb": 2048, "open_files": 5000})


@db
def test_a_restart_takes_the_limits_of_then() -> None:
    """The usual story: it ran out of memory, the project gets more, it is started again."""
    make_node()
    project = make_project()
    set_limits(project, {"memory_mb": 100})
    runner = launch(project)
    Runner.objects.filter(pk=runner.pk).update(limits_in_force={"memory_mb": 100})
    move(runner.pk, S.FAILED, generation=1, actor="system:test", reason="memory: 120 MB of 100 MB")
    change_project(project, actor="user:ada", limits={"memory_mb": 500})
    again = restart_runner(runner.pk, actor="user:ada")
    assert again.limits_in_force == {}
    assert limits_in_force(again) == {"memory_mb": 500}


@db
def test_limits_of_a_project_go_in_and_come_out_over_the_api() -> None:
    api, project = operator(), make_project()
    url = f"/api/v1/projects/{project.name}/"
    assert set(api.get(url).json()["limits"].values()) == {None}
    changed = api.patch(url, {"limits": {"memory_mb": 2048, "idle_seconds": 600}}, format="json").json()["limits"]
    assert (changed["memory_mb"], changed["idle_seconds"], changed["processes"]) == (2048, 600, None)
    audited = AuditEntry.objects.get(action="project.change").after or {}
    assert (audited["memory_mb"], audited["idle_seconds"]) == (2048, 600)
    changed = api.patch(url, {"limits": {"idle_seconds": None}}, format="json").json()["limits"]
    assert (changed["memory_mb"], changed["idle_seconds"]) == (2048, None)
    for wrong in ({"memory": 1}, {"memory_mb": 1}, {"memory_mb": "much"}):
        refused = api.patch(url, {"limits": wrong}, format="json")
        assert (refused.status_code, list(refused.json()["errors"])) == (400, ["limits"])
    assert limits_of_project(Project.objects.get(pk=project.pk)) == {"memory_mb": 2048}


@db
def test_limits_of_a_launch_go_in_and_come_out_over_the_api() -> None:
    make_node()
    api, project = operator(), make_project()
    set_limits(project, {"memory_mb": 2048})
    body = {"project": project.name, "backend": "command", "argv": ["true"], "limits": {"memory_mb": 512}}
    told = api.post("/api/v1/runners/", body, format="json").json()
    assert (told["limits"], told["limits_in_force"]) == ({"memory_mb": 512}, {})
    refused = api.post("/api/v1/runners/", {**body, "limits": {"memory_mb": 4096}}, format="json")
    assert (refused.status_code, refused.json()["most"]) == (422, 2048)


@db
def test_limits_are_typed_in_the_launch_form_and_shown_on_the_pages() -> None:
    make_node()
    browser, project = operator(), make_project()
    set_limits(project, {"memory_mb": 2048})
    assert "memory 2,048 MB" in browser.get(f"/projects/{project.name}/").content.decode()
    form = {"project": project.name, "backend": "command", "command": "true", "wall_seconds": "60"}
    answer = browser.post("/launch/", form)
    assert answer.status_code == 302, answer.content.decode()
    page = answer.headers["Location"]
    assert "wall clock 60 s" in browser.get(page).content.decode()
    again = browser.get(f"/launch/?again={Runner.objects.get().pk}").content.decode()
    assert 'name="wall_seconds" value="60"' in again
    assert "may be at most 2048" in browser.post("/launch/", {**form, "memory_mb": "4096"}).content.decode()


@db
def test_staff_set_limits_in_the_admin() -> None:
    browser, project = operator(), make_project()
    url = f"/admin/runners/project/{project.pk}/change/"
    browser.get(url)
    answer = browser.post(url, {"description": "", "tags": "", "memory_mb": "512", "processes": "20"})
    assert answer.status_code == 302, answer.content.decode()
    assert limits_of_project(Project.objects.get(pk=project.pk)) == {"memory_mb": 512, "processes": 20}


def test_a_runner_past_its_limit_has_failed_says_why_and_starts_again_by_its_policy(stack: Stack) -> None:
    project = make_project()
    set_limits(project, {"wall_seconds": 3600, "open_files": 40})
    request = LaunchRequest(
        backend="command",
        argv=["bash", "-c", "ulimit -n > open-files; trap 'exit 0' INT; while :; do sleep 0.1; done"],
        limits={"idle_seconds": 2},
        restart_policy="on_failure",
        max_restarts=1,
    )
    runner = launch_runner(project.name, request, actor="user:ada")
    running = stack.wait_for(runner, "running")
    assert running.limits_in_force == {"wall_seconds": 3600, "idle_seconds": 2, "open_files": 40}
    stack.wait_for(runner, "failed")
    attempt = runner.attempts.get(generation=1)
    assert (attempt.status, attempt.reason, attempt.exit_code) == ("failed", "stalled: no output for 2 s", 0)

    def crashed() -> Runner | None:
        return Runner.objects.filter(pk=runner.pk, generation=2, status="failed").first()

    again = wait_until(crashed, "the second attempt stalls, too")
    assert again.reason == "crash loop: 1 restarts within 10 minutes; last: stalled: no output for 2 s"
    assert (Path(project.path) / "open-files").read_text().strip() == "40"
