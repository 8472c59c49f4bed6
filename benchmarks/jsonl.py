"""Import and export of the original's files: 100,000 lines, in seconds and in the memory of the command's process."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.management import call_command

#: How the 100,000 lines are spread: a large team of some years.
AGENTS, JOBS, TODOS, TIMES = 5_000, 35_000, 20_000, 40_000
BEGIN = datetime(2026, 1, 1, 8, tzinfo=UTC).replace(tzinfo=None)


def limits() -> dict[str, float]:
    """Return how many of these lines a second are only read and understood as JSON."""
    lines = [json.dumps(_job(number)) for number in range(JOBS)]
    begun = time.perf_counter()
    for line in lines:
        json.loads(line)
    return {"lines_read_per_second": JOBS / (time.perf_counter() - begun)}


def figures() -> dict[str, float]:
    """Return seconds and megabytes of an import, of the same again (which updates), and of an export."""
    call_command("migrate", interactive=False, verbosity=0)
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name, "from"), Path(name, "to")
        _write(source)
        found: dict[str, float] = {}
        for what, command in (
            ("import", ["import_jsonl", str(source)]),
            ("import_again", ["import_jsonl", str(source)]),
            ("export", ["export_jsonl", str(target)]),
        ):
            seconds, megabytes = _run(command)
            found |= {f"{what}_seconds": seconds, f"{what}_mb": megabytes}
        lines = sum(path.read_text().count("\n") for path in target.rglob("*.jsonl"))
    if lines != AGENTS + JOBS + TODOS + TIMES:
        raise SystemExit(f"{lines} lines came back.")
    return found


def _run(words: list[str]) -> tuple[float, float]:
    """Run a command; return its seconds and the most memory that it held, in MB."""
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "manage.py", *words, "--zone", "UTC"], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{words[0]} ended with {status}.")
    return time.perf_counter() - begun, usage.ru_maxrss / 1024


def _write(directory: Path) -> None:
    for name, lines in (
        ("agents/active_agents.jsonl", (f"{each['id']} {json.dumps(each)}" for each in map(_agent, range(AGENTS)))),
        ("agents/agent_todos.jsonl", (f"{each['id']} {json.dumps(each)}" for each in map(_todo, range(TODOS)))),
        ("jobs/jobs.jsonl", (json.dumps(each) for each in map(_job, range(JOBS)))),
        ("jobs/time_sessions.jsonl", (json.dumps(each) for each in map(_hours, range(TIMES)))),
    ):
        _write_lines(directory / name, lines)


def _write_lines(path: Path, lines: Iterator[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        file.writelines(f"{line}\n" for line in lines)


def _at(minutes: int) -> str:
    return (BEGIN + timedelta(minutes=minutes)).isoformat()


def _job_id(number: int) -> str:
    return f"job-{(BEGIN + timedelta(days=number // 900)):%Y-%m-%d}-{number % 900 + 1:03}"


def _agent(number: int) -> dict[str, Any]:
    return {
        "id": f"cadet_{1_700_000_000 + number}",
        "personality": "cadet",
        "status": "idle",
        "created_at": _at(number),
        "updated_at": _at(number + 60),
        "current_task": None,
        "completed_tasks": [_job_id(number)],
        "active_session_id": None,
        "process_id": None,
        "thoughts": [{"timestamp": _at(number), "thought": f"Where to begin with {n}?"} for n in range(3)],
        "metrics": {"tasks_completed": 1, "time_spent": 3600, "success_rate": 1.0},
    }


def _job(number: int) -> dict[str, Any]:
    return {
        "id": _job_id(number),
        "title": f"Piece of work {number}",
        "description": "What is to be done, in a line or two, as people write it down. " * 3,
        "status": "completed" if number < JOBS // 2 else "pending",
        "priority": ("low", "medium", "high", "critical")[number % 4],
        "created_at": _at(number),
        "updated_at": _at(number + 30),
        "assignee": f"cadet_{1_700_000_000 + number % AGENTS}" if number < JOBS // 2 else None,
        "labels": ["api", f"part-{number % 20}"],
        "estimated_hours": 2,
        "actual_hours": 1.5 if number < JOBS // 2 else None,
        "dependencies": [_job_id(number - JOBS // 2)] if number >= JOBS // 2 and number % 3 == 0 else [],
        "deliverables": ["a plan", "a list"] if number % 2 else [],
    }


def _todo(number: int) -> dict[str, Any]:
    return {
        "id": f"00000000-0000-4000-8000-{number:012}",
        "agent_id": f"cadet_{1_700_000_000 + number % AGENTS}",
        "title": f"Note {number}",
        "description": "Twice.",
        "status": "completed",
        "priority": "low",
        "created_at": _at(number),
        "updated_at": _at(number + 5),
        "task_id": _job_id(number),
        "tags": ["reading"],
        "metadata": {"pages": 3},
    }


def _hours(number: int) -> dict[str, Any]:
    worker, turn = number % AGENTS, number // AGENTS
    start = BEGIN + timedelta(hours=2 * turn)
    end, job = start + timedelta(hours=1), _job_id(worker)
    stamps = [int(each.replace(tzinfo=UTC).timestamp()) for each in (start, end)]
    return {
        "session_id": f"{job}_{stamps[0]}",
        "job_id": job,
        "agent": f"cadet_{1_700_000_000 + worker}",
        "description": "Digging",
        "status": "completed",
        "start_time": start.isoformat(),
        "end_time": end.isoformat(),
        "start_timestamp": stamps[0],
        "end_timestamp": stamps[1],
        "duration_seconds": 3000,
        "paused_time": 600,
        "pauses": [
            {
                "start": (start + timedelta(minutes=20)).isoformat(),
                "end": (start + timedelta(minutes=30)).isoformat(),
            }
        ],
        "notes": "",
        "created_at": start.isoformat(),
    }
