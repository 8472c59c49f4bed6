"""A backend whose program reports facts by name, and its telemetry handed over in stretches."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from runners.backends import get_backend
from runners.backends.base import (
    ApprovalFact,
    Backend,
    Command,
    Fact,
    FailureFact,
    MessageFact,
    SessionFact,
    StateFact,
    UsageFact,
)
from runners.models import Runner
from runners.services.ingest import ingest
from runners.services.telemetry import Batch
from runners.states import Activity, Role, RunnerStatus
from tests.runners.factories import make_runner

STARTED = {"t": 1.0, "kind": "started", "pid": 42, "start_ticks": 7, "boot_id": "b"}


class Teller(Backend):
    """A backend whose program reports facts by name."""

    name = "teller"
    label = "Teller"
    resumes = True
    forks = True
    asks = True

    def command(self, runner: Any, program: str) -> Command:
        return Command(argv=["true"])

    def read(self, record: Mapping[str, Any], state: dict[str, Any]) -> Iterable[Fact]:
        at = datetime.fromtimestamp(record["t"], UTC)
        match record.get("data"):
            case {"say": text, "key": key}:
                yield MessageFact(key=key, role=Role.ASSISTANT, text=text, at=at)
            case {"tokens": tokens, "key": key, **rest}:
                told: Any = rest
                cost = told.get("cost")
                yield UsageFact(
                    key=key,
                    model=told.get("model", ""),
                    output_tokens=tokens,
                    cost_usd=None if cost is None else Decimal(cost),
                    settles=bool(told.get("settles")),
                    stretch=told.get("stretch", ""),
                    covers=tuple(told.get("covers", ())),
                    covers_all_models=bool(told.get("all_models")),
                    at=at,
                )
            case {"session": external_id}:
                yield SessionFact(external_id=external_id)
            case {"about": activity, **rest}:
                about: Any = rest
                until = datetime.fromtimestamp(about["until"], UTC) if "until" in about else None
                yield StateFact(activity=Activity(activity), until=until, note=about.get("note", ""), at=at)
            case {"fail": reason}:
                yield FailureFact(reason=reason)
            case {"ask": request_id, **rest}:
                asked: Any = rest
                yield ApprovalFact(
                    request_id=request_id, tool_name=asked["tool"], tool_input=asked["input"], reason="", at=at
                )
            case {"take_back": request_id}:
                yield ApprovalFact(request_id=request_id, withdrawn=True, at=at)

    def answer(self, request_id: str, *, allow: bool, message: str) -> str:
        return f"{request_id} {'yes' if allow else 'no'} {message}\n"


@pytest.fixture(autouse=True)
def teller(settings: Any) -> Iterator[None]:
    settings.RUNNER_BACKENDS = {**settings.RUNNER_BACKENDS, "teller": f"{__name__}.Teller"}
    get_backend.cache_clear()
    yield
    get_backend.cache_clear()


def starting(**fields: Any) -> Runner:
    return make_runner(backend="teller", status=RunnerStatus.STARTING, **fields)


def report(at: float = 2.0, **data: Any) -> dict[str, Any]:
    return {"t": at, "kind": "report", "data": data}


def hand_over(runner: Runner, *records: dict[str, Any], start: int = 0, end: int | None = None) -> int:
    """Ingest records as if each were 10 bytes long."""
    end = start + 10 * len(records) if end is None else end
    return ingest(Batch(runner.pk, runner.generation, start, end, records))
