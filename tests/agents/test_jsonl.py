"""Import and export of the original's files."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command

from agents.figures import figures_of_agents
from agents.jsonl.lines import in_directory
from agents.models import Agent, Dependency, Job, JobMove, Personality, TimeEntry, Todo
from agents.services import create_agent, create_job
from agents.services.transfer import ImportReport, export_files, import_files
from benchmarks import jsonl as measured
from tests.callers import operator, reader

pytestmark = pytest.mark.django_db
BERLIN = ZoneInfo("Europe/Berlin")

AGENT = {
    "id": "cadet_1739200000",
    "personality": "cadet",
    "status": "working",
    "created_at": "2026-02-10T16:06:40",
    "updated_at": "2026-02-10T17:00:00.250000",
    "current_task": "job-2026-02-10-002",
    "completed_tasks": ["job-2026-02-10-001"],
    "active_session_id": None,
    "process_id": None,
    "thoughts": [{"timestamp": "2026-02-10T16:10:00", "thought": "Where to begin?"}],
    "metrics": {"tasks_completed": 1, "time_spent": 3000, "success_rate": 1.0},
}
DONE = {
    "id": "job-2026-02-10-001",
    "title": "Prepare the ground",
    "description": "",
    "status": "completed",
    "priority": "high",
    "created_at": "2026-02-10T15:00:00",
    "updated_at": "2026-02-10T16:30:00",
    "assignee": "cadet_1739200000",
    "labels": ["ground"],
    "estimated_hours": 2,
    "actual_hours": 1.5,
    "dependencies": [],
    "deliverables": ["a plan", "a list"],
}
NOW = {
    **DONE,
    "id": "job-2026-02-10-002",
    "title": "Build",
    "status": "in_progress",
    "actual_hours": None,
    "dependencies": ["job-2026-02-10-001"],
    "deliverables": [],
}
LATER = {
    **NOW,
    "id": "job-2026-02-10-003",
    "title": "Paint",
    "status": "pending",
    "assignee": None,
    "dependencies": ["job-2026-02-10-002"],
}
TODO = {
    "id": "6f1c1d52-58ac-4c55-9d0c-4a1a6ab1d9a4",
    "agent_id": "cadet_1739200000",
    "title": "Read the plan",
    "description": "Twice.",
    "status": "in_progress",
    "priority": "low",
    "created_at": "2026-02-10T16:07:00",
    "updated_at": "2026-02-10T16:08:00",
    "task_id": "job-2026-02-10-002",
    "tags": ["reading"],
    "metadata": {"pages": 3},
}
HOURS = {
    "session_id": "job-2026-02-10-001_1770735600",
    "job_id": "job-2026-02-10-001",
    "agent": "cadet_1739200000",
    "description": "Digging",
    "status": "completed",
    "start_time": "2026-02-10T16:00:00",
    "end_time": "2026-02-10T17:00:00",
    "start_timestamp": 1770735600,
    "end_timestamp": 1770739200,
    "duration_seconds": 3000,
    "paused_time": 600,
    "pauses": [{"start": "2026-02-10T16:20:00", "end": "2026-02-10T16:30:00"}],
    "notes": "",
    "created_at": "2026-02-10T16:00:00",
}


def write(directory: Path, **files: list[Any]) -> Path:
    """Write files of the original; a text is written as it is."""
    for name, lines in files.items():
        folder, _, file = name.partition("__")
        path = directory / folder / f"{file}.jsonl"
        path.parent.mkdir(exist_ok=True)
        with_id = folder == "agents"
        texts = [
            line if isinstance(line, str) else (f"{line['id']} " if with_id else "") + json.dumps(line)
            for line in lines
        ]
        path.write_text("".join(f"{text}\n" for text in texts))
    return directory


def everything(directory: Path) -> Path:
    return write(
        directory,
        agents__active_agents=[AGENT],
        agents__agent_todos=[TODO],
        jobs__jobs=[LATER, NOW, DONE],
        jobs__time_sessions=[HOURS],
    )


def take_in(directory: Path, **options: Any) -> ImportReport:
    return import_files(in_directory(directory), zone=BERLIN, actor="user:ada", **options)


def complaints(report: ImportReport) -> list[str]:
    return [str(complaint) for complaint in report.complaints.first]


def exported(name: str) -> list[str]:
    return "".join(export_files(BERLIN)[name]()).splitlines()


def test_all_files_are_taken_in_and_hang_together(tmp_path: Path) -> None:
    report = take_in(everything(tmp_path))
    assert complaints(report) == []
    agent = Agent.objects.get(name="cadet_1739200000")
    assert agent.status == "working"
    figures = figures_of_agents([agent.pk])[agent.pk]
    assert (figures.completed, figures.seconds, figures.last_thought) == (1, 3000, "Where to begin?")
    assert dict(Job.objects.values_list("title", "status")) == {
        "Prepare the ground": "completed",
        "Build": "in_progress",
        "Paint": "blocked",
    }
    done = Job.objects.get(title="Prepare the ground")
    assert done.created_at.isoformat() == "2026-02-10T14:00:00+00:00"
    assert list(done.deliverables.values_list("text", flat=True)) == ["a plan", "a list"]
    assert Job.objects.get(title="Build").assignments.get(ended_at=None).agent == agent
    assert Todo.objects.get().job_id == "job-2026-02-10-002"
    assert TimeEntry.objects.get().worked_seconds() == 3000
    assert set(JobMove.objects.values_list("from_status", "to_status", "reason", "actor")) == {
        ("", "completed", "imported", "user:ada"),
        ("", "in_progress", "", "user:ada"),
        ("", "blocked", "", "user:ada"),
    }


def test_what_was_taken_in_is_exported_line_for_line(tmp_path: Path) -> None:
    take_in(everything(tmp_path))
    assert sorted(exported("jobs/jobs.jsonl")) == [
        json.dumps(job) for job in (DONE, NOW, {**LATER, "status": "blocked"})
    ]
    assert exported("agents/agent_todos.jsonl") == [f"{TODO['id']} {json.dumps(TODO)}"]
    assert exported("jobs/time_sessions.jsonl") == [json.dumps(HOURS)]
    (line,) = exported("agents/active_agents.jsonl")
    name, _, text = line.partition(" ")
    agent = json.loads(text)
    assert (name, list(agent)) == (AGENT["id"], list(AGENT))
    assert {**agent, "updated_at": AGENT["updated_at"]} == AGENT


def test_an_import_may_be_repeated(tmp_path: Path) -> None:
    everything(tmp_path)
    take_in(tmp_path)
    before = {name: "".join(write()) for name, write in export_files(BERLIN).items()}
    report = take_in(tmp_path)
    assert complaints(report) == []
    assert sum(report.new.values()) == 0
    assert {name: "".join(write()) for name, write in export_files(BERLIN).items()} == before
    assert Dependency.objects.count() == 2
    assert JobMove.objects.count() == 3


def test_a_second_import_brings_what_changed(tmp_path: Path) -> None:
    take_in(everything(tmp_path))
    write(tmp_path, jobs__jobs=[{**NOW, "status": "completed"}, {**LATER, "dependencies": []}])
    take_in(tmp_path)
    assert dict(Job.objects.values_list("title", "status")) == {
        "Prepare the ground": "completed",
        "Build": "completed",
        "Paint": "pending",
    }
    assert Agent.objects.get().status == "idle"


def test_malformed_lines_are_named_and_passed_over(tmp_path: Path) -> None:
    write(
        tmp_path,
        jobs__jobs=[
            DONE,
            "not json",
            {**LATER, "id": "a", "priority": "urgent"},
            {**LATER, "id": "b", "title": ""},
            {**LATER, "id": "c", "created_at": "yesterday"},
            {**LATER, "id": "d", "dependencies": ["nowhere"]},
            "",
        ],
        agents__active_agents=[
            {**AGENT, "personality": "wizard", "id": "w"},
            f"other {json.dumps(AGENT)}",
        ],
        jobs__time_sessions=[{**HOURS, "agent": "nobody"}],
    )
    report = take_in(tmp_path)
    assert set(Job.objects.values_list("pk", flat=True)) == {"job-2026-02-10-001", "d"}
    assert complaints(report) == [
        "agents/active_agents.jsonl:2: it begins with 'other', but its id is 'cadet_1739200000'",
        "agents/active_agents.jsonl:1: there is no personality 'wizard'",
        "jobs/jobs.jsonl:2: there is no JSON object",
        "jobs/jobs.jsonl:3: priority is 'urgent': none of low, medium, high, critical",
        "jobs/jobs.jsonl:4: title is missing",
        "jobs/jobs.jsonl:5: created_at is no moment: 'yesterday'",
        "jobs/jobs.jsonl:6: there is no job 'nowhere' to wait for",
        "jobs/time_sessions.jsonl:1: there is no agent or person 'nobody'",
    ]


def test_a_circle_is_named_and_broken(tmp_path: Path) -> None:
    first, second, third = ({**LATER, "id": name, "dependencies": [needs]} for name, needs in ("ab", "bc", "ca"))
    report = take_in(write(tmp_path, jobs__jobs=[first, second, third]))
    assert complaints(report) == ["jobs/jobs.jsonl:3: it would wait for itself: a > b > c > a"]
    assert Dependency.objects.count() == 2
    assert Job.objects.get(pk="c").status == "pending"


def test_hours_of_one_worker_do_not_overlap(tmp_path: Path) -> None:
    overlapping = {**HOURS, "session_id": "x", "start_timestamp": 1770735700}
    report = take_in(write(everything(tmp_path), jobs__time_sessions=[HOURS, overlapping]))
    assert complaints(report) == [
        f"jobs/time_sessions.jsonl:2: cadet_1739200000 was at {HOURS['session_id']} in the same hours"
    ]


def test_a_dry_run_tells_all_and_writes_nothing(tmp_path: Path) -> None:
    report = take_in(everything(tmp_path), dry_run=True)
    assert report.new["jobs/jobs.jsonl"] == 3
    assert not Job.objects.exists()
    assert not Agent.objects.exists()


def test_what_is_worked_on_here_keeps_its_status(tmp_path: Path) -> None:
    from django.contrib.auth.models import User

    from agents.services import assign_person

    job = create_job(title="Here", actor="user:ada")
    assign_person(job.pk, User.objects.create_user("ada"), actor="user:ada")
    take_in(write(tmp_path, jobs__jobs=[{**DONE, "id": job.pk, "title": "There"}]))
    job.refresh_from_db()
    assert (job.title, job.status) == ("There", "in_progress")


def test_personalities_are_taken_in_as_a_new_version(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    role = {"name": "cadet", "description": "Learns.", "strengths": ["eager"], "specialties": [], "work_style": "w"}
    content = {"cadet": {**role, "communication_style": "c"}, "broken": []}
    (tmp_path / "agents" / "agent_personalities.json").write_text(json.dumps(content))
    report = take_in(tmp_path)
    assert complaints(report) == ["agents/agent_personalities.json:2: broken: it is not an object"]
    cadet = Personality.objects.get(name="cadet")
    assert (cadet.description, cadet.version) == ("Learns.", 2)


def test_the_commands_read_and_write_directories(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("import_jsonl", str(everything(tmp_path)), zone="Europe/Berlin")
    assert "jobs/jobs.jsonl: 3 new, 0 updated" in capsys.readouterr().out
    call_command("export_jsonl", str(tmp_path / "out"), zone="Europe/Berlin")
    assert (tmp_path / "out" / "jobs" / "time_sessions.jsonl").read_text() == json.dumps(HOURS) + "\n"
    with pytest.raises(CommandError, match="There is no time zone 'Mars'"):
        call_command("import_jsonl", str(tmp_path), zone="Mars")
    with pytest.raises(CommandError, match="There is none of the files"):
        call_command("import_jsonl", str(tmp_path / "out" / "jobs"))


def test_the_api_takes_files_in_and_gives_them_out(tmp_path: Path) -> None:
    api = operator()
    create_agent(personality="cadet", actor="user:ada", name="cadet_1739200000")
    file = SimpleUploadedFile("jobs.jsonl", (json.dumps(DONE) + "\n{\n").encode())
    answer = api.post("/api/v1/workforce/import/", {"jobs_jsonl": file, "zone": "Europe/Berlin"}, format="multipart")
    assert answer.status_code == 200, answer.content
    assert answer.json()["new"] == {"jobs/jobs.jsonl": 1}
    assert answer.json()["complaints"][0]["line"] == 2
    download = api.get("/api/v1/workforce/export/?zone=Europe/Berlin")
    with zipfile.ZipFile(io.BytesIO(b"".join(download.streaming_content))) as files:  # type: ignore[attr-defined]
        assert json.loads(files.read("jobs/jobs.jsonl")) == DONE
    assert api.post("/api/v1/workforce/import/", {}, format="multipart").status_code == 422
    assert reader().post("/api/v1/workforce/import/", {}, format="multipart").status_code == 403


def test_the_lines_that_are_measured_are_all_good_ones_and_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, count in {"AGENTS": 10, "JOBS": 70, "TODOS": 40, "TIMES": 80}.items():
        monkeypatch.setattr(measured, name, count)
    measured._write(tmp_path / "from")
    for _ in range(2):
        report = import_files(in_directory(tmp_path / "from"), zone=ZoneInfo("UTC"), actor="user:ada")
        assert report.complaints.count == 0
    call_command("export_jsonl", str(tmp_path / "to"), zone="UTC")
    assert sum(path.read_text().count("\n") for path in (tmp_path / "to").rglob("*.jsonl")) == 200
