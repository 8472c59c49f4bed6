"""Take in the original's files: all of them in one transaction, malformed lines reported and passed over.

Repeatable: the same ids are updated, never doubled. What is being worked on here keeps its status.
"""

import json
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction

from agents import events
from agents.exceptions import AgentError, InvalidImport
from agents.jsonl.agents import parse_agent, parse_personality, parse_todo
from agents.jsonl.jobs import parse_job, parse_time
from agents.jsonl.lines import AGENTS, FILES, JOBS, PERSONALITIES, TIME, TODOS, Files, Malformed, records
from agents.locks import lock_graph
from agents.models import Personality
from agents.services.personalities import save_personality
from agents.services.transfer.agents import take_in_agents
from agents.services.transfer.jobs import JobImport
from agents.services.transfer.report import ImportReport
from agents.services.transfer.time import take_in_time
from agents.services.transfer.todos import take_in_todos
from agents.wakes import dispatch_soon
from outbox.services import record_act


def import_files(files: Files, *, zone: ZoneInfo, actor: str, dry_run: bool = False) -> ImportReport:
    """Take in the files there are and return the report. Times without a zone are local to `zone`.

    A dry run does everything and then undoes it. Raises InvalidImport if there is none of the files.
    """
    if not files:
        raise InvalidImport(f"There is none of the files {', '.join(FILES)}.", field="files")
    report = ImportReport(dry_run)
    with transaction.atomic():
        # Statuses and edges change in numbers: nobody else may move either meanwhile.
        lock_graph()
        _take_in(files, zone, report, actor)
        record_act(
            "workforce.import", actor=actor, target_type="workforce", target_id="workforce",
            after={"new": dict(report.new), "updated": dict(report.updated), "complaints": report.complaints.count},
        )  # fmt: skip
        events.workforce_imported(dict(report.new), dict(report.updated), report.complaints.count, actor=actor)
        dispatch_soon()
        transaction.set_rollback(dry_run)
    return report


def _take_in(files: Files, zone: ZoneInfo, report: ImportReport, actor: str) -> None:
    def lines(name: str, parse: Any) -> Any:
        return records(files, name, partial(parse, zone=zone), report.complaints)

    _take_in_personalities(files, zone, report, actor)
    wishes = take_in_agents(lines(AGENTS, parse_agent), report, actor=actor)
    jobs = JobImport(report, actor)
    jobs.take_in(lines(JOBS, parse_job))
    jobs.connect()
    jobs.give_out(wishes)
    take_in_todos(lines(TODOS, parse_todo), report)
    take_in_time(lines(TIME, parse_time), report)


def _take_in_personalities(files: Files, zone: ZoneInfo, report: ImportReport, actor: str) -> None:
    if PERSONALITIES not in files:
        return
    with files[PERSONALITIES]() as file:
        try:
            found = json.loads(file.read())
        except ValueError as error:
            report.complaints.add(PERSONALITIES, getattr(error, "lineno", 1), f"it is not JSON: {error}")
            return
    if not isinstance(found, dict):
        report.complaints.add(PERSONALITIES, 1, "it is not a JSON object of personalities by name")
        return
    for number, (name, content) in enumerate(found.items(), start=1):
        try:
            if not isinstance(content, dict):
                raise Malformed("it is not an object")
            _save_personality(parse_personality({"name": name, **content}, zone), report, actor)
        except (Malformed, AgentError) as error:
            report.complaints.add(PERSONALITIES, number, f"{name}: {error}")


def _save_personality(fields: dict[str, Any], report: ImportReport, actor: str) -> None:
    personality = Personality.objects.filter(name=fields["name"]).first()
    if personality and all(getattr(personality, name) == value for name, value in fields.items()):
        return
    with transaction.atomic():
        save_personality(personality or Personality(), fields, actor=actor)
    report.count(PERSONALITIES, new=not personality, updated=bool(personality))
