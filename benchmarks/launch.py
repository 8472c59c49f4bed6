"""Launching: from the POST to the agent, what the whole path sustains, what a runner weighs, and whether it adds up.

Limits beside it, in the same run: starting a bare program, forking a bare zygote, committing one row.
"""

import statistics
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import psutil
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from benchmarks import _shims
from benchmarks._cpu import postgres_seconds, seconds_of
from benchmarks._fleet import Fleet, fleet, wait_for
from runners.models import Runner
from runners.runtimes import run_directory
from runners.services import create_project
from runners.states import RunnerStatus

STARTS, FORKS, COMMITS = 200, 500, 500
ONE_BY_ONE, AT_ONCE, ROUNDS = 40, 20, 5
SUSTAINED, CLIENTS = 400, 4
BATCH = 50
RUNNERS, ENDS = 200, 100
CYCLES, CYCLE_BATCH = 1_000, 50
PROJECT = "bench"
SLEEP, TRUE = ["/bin/sleep", "3600"], ["/bin/true"]


def limits() -> dict[str, float]:
    """Return what the machine does without Stratavore."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bench_row (n int)")
    return {
        "process_starts_per_second": _rate(_start_true, STARTS),
        "bare_zygote_forks_per_second": _shims.bare_forks_per_second(FORKS),
        "detached_zygote_forks_per_second": _shims.bare_forks_per_second(FORKS, _shims.DETACHED_ZYGOTE),
        "one_row_commits_per_second": _rate(_commit_row, COMMITS),
    }


def figures() -> dict[str, float]:
    """Launch with every process in place; rates a second, latencies in ms, memory in MB."""
    call_command("migrate", interactive=False, verbosity=0)
    workspace = Path(settings.WORKSPACE_ROOTS[0]) / PROJECT
    workspace.mkdir(parents=True)
    create_project(name=PROJECT, path=str(workspace), actor="system:bench", max_concurrent_runners=10_000)
    runs = Path(settings.RUNS_DIR).parent / "bench-shims"
    found = {
        "shim_starts_per_second_zygote": _shims.starts_per_second(runs / "zygote", STARTS, zygote=True),
        "shim_starts_per_second_exec": _shims.starts_per_second(runs / "exec", STARTS // 4, zygote=False),
    }
    with fleet(slots=10_000) as running:
        _launch(running, TRUE)
        _wait_until_all_ended()
        found |= _percentiles("post_to_start_1", _one_by_one(running))
        found |= _percentiles("post_to_start_20", [ms for _ in range(ROUNDS) for ms in _at_once(running)])
        found |= _percentiles("post_to_start_20_in_one", [ms for _ in range(ROUNDS) for ms in _in_one(running)])
        found |= _sustained(running)
        found |= _sustained(running, CLIENTS, "launches_of_few")
        found |= _batches(running)
        found |= _at_rest(running)
        found |= _cycles(running)
    found["failed_runners"] = float(Runner.objects.filter(status=RunnerStatus.FAILED, exit_signal=None).count())
    return found


def _one_by_one(running: Fleet) -> list[float]:
    waits = []
    for _ in range(ONE_BY_ONE):
        asked = time.time()
        waits += _starts([(asked, _launch(running, TRUE))])
        _wait_until_all_ended()
    return waits


def _at_once(running: Fleet) -> list[float]:
    def ask(_: int) -> tuple[float, str]:
        asked = time.time()
        return asked, _launch(running, TRUE)

    with ThreadPoolExecutor(AT_ONCE) as clients:
        asked = list(clients.map(ask, range(AT_ONCE)))
    waits = _starts(asked)
    _wait_until_all_ended()
    return waits


def _in_one(running: Fleet) -> list[float]:
    asked = time.time()
    waits = _starts([(asked, runner_id) for runner_id in _launch_many(running, AT_ONCE)])
    _wait_until_all_ended()
    return waits


def _sustained(running: Fleet, clients: int = AT_ONCE, name: str = "launches") -> dict[str, float]:
    """Return how many a second start, and how many live their whole life, while clients post without a pause."""

    def post() -> list[str]:
        with ThreadPoolExecutor(clients) as threads:
            return list(threads.map(lambda _: _launch(running, TRUE), range(SUSTAINED)))

    return _whole_lives(running, name, post)


def _batches(running: Fleet) -> dict[str, float]:
    """Return the same for runners that are launched many with a request."""

    def post() -> list[str]:
        return [runner_id for _ in range(SUSTAINED // BATCH) for runner_id in _launch_many(running, BATCH)]

    return _whole_lives(running, "batch", post)


def _whole_lives(running: Fleet, name: str, post: Callable[[], list[str]]) -> dict[str, float]:
    before, begun = _cpu_seconds(running), time.time()
    ids = post()
    accepted = time.time()
    _wait_until_all_ended()
    ended = time.time()
    last = Runner.objects.filter(pk__in=ids).latest("started_at").started_at
    assert last is not None
    spent = {process: seconds - before[process] for process, seconds in _cpu_seconds(running).items()}
    return {
        f"{name}_accepted_per_second": len(ids) / (accepted - begun),
        f"{name}_started_per_second": len(ids) / (last.timestamp() - begun),
        f"{name}_through_their_life_per_second": len(ids) / (ended - begun),
        **{f"{name}_cpu_ms_{process}": seconds / len(ids) * 1000 for process, seconds in spent.items()},
        f"{name}_cpu_ms_in_all": sum(spent.values()) / len(ids) * 1000,
    }


def _cpu_seconds(running: Fleet) -> dict[str, float]:
    """Return the CPU time of each process so far, with that of PostgreSQL."""
    ours = {name.replace(" ", "_"): seconds_of(process.pid) for name, process in running.processes.items()}
    return {**ours, "postgres": postgres_seconds()}


def _at_rest(running: Fleet) -> dict[str, float]:
    """Return what a runner weighs when many rest, and how soon the end of one is on record."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        ids = list(clients.map(lambda _: _launch(running, SLEEP), range(RUNNERS)))
    _starts([(time.time(), runner_id) for runner_id in ids])
    directories = [run_directory(UUID(runner_id), generation=1) for runner_id in ids]
    weight = _shims.pss_mb([_shims.shim_pid(run) for run in directories])
    notices = _shims.notice_ms(directories[:ENDS])
    for runner_id in ids[ENDS:]:
        running.api.post(f"/api/v1/runners/{runner_id}/stop/", json={"grace_seconds": 0}).raise_for_status()
    _wait_until_all_ended()
    return {"shim_pss_mb_at_200": weight, **_percentiles("exit_noticed", notices)}


def _cycles(running: Fleet) -> dict[str, float]:
    """Return by how many kB a launch and its end leave each process larger, over many of them."""
    sizes: dict[str, list[float]] = {name: [] for name in running.processes}
    for _ in range(CYCLES // CYCLE_BATCH):
        with ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(lambda _: _launch(running, TRUE), range(CYCLE_BATCH)))
        _wait_until_all_ended()
        for name, process in running.processes.items():
            sizes[name].append(psutil.Process(process.pid).memory_info().rss / 1000)
    # The first third warms caches and pools up.
    steady = {name: row[len(row) // 3 :] for name, row in sizes.items()}
    slopes = {name: statistics.linear_regression(range(len(row)), row).slope for name, row in steady.items()}
    return {f"growth_kb_per_cycle_{name.replace(' ', '_')}": slope / CYCLE_BATCH for name, slope in slopes.items()}


def _launch(running: Fleet, argv: list[str]) -> str:
    answer = running.api.post("/api/v1/runners/", json={"project": PROJECT, "backend": "command", "argv": argv})
    answer.raise_for_status()
    return str(answer.json()["id"])


def _launch_many(running: Fleet, count: int) -> list[str]:
    launch = {"project": PROJECT, "backend": "command", "argv": TRUE, "count": count}
    answer = running.api.post("/api/v1/runners/batch/", json={"launches": [launch]}).raise_for_status()
    return [str(result["runner"]["id"]) for result in answer.json()["results"]]


def _starts(asked: list[tuple[float, str]]) -> list[float]:
    """Wait until these runners have started; return the milliseconds from when each was asked for."""
    ids = [runner_id for _, runner_id in asked]
    wait_for(lambda: Runner.objects.filter(pk__in=ids, started_at__isnull=False).count() == len(ids), "starts")
    started = dict(Runner.objects.filter(pk__in=ids).values_list("pk", "started_at"))
    by_id = {str(pk): at.timestamp() for pk, at in started.items() if at}
    return [(by_id[runner_id] - at) * 1000 for at, runner_id in asked]


def _wait_until_all_ended() -> None:
    wait_for(lambda: not Runner.objects.open().exists(), "the runners to end", look_seconds=0.05)


def _percentiles(name: str, values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {f"{name}_p50_ms": cuts[49], f"{name}_p99_ms": cuts[98]}


def _rate(action: Callable[[], object], times: int) -> float:
    begun = time.monotonic()
    for _ in range(times):
        action()
    return times / (time.monotonic() - begun)


def _start_true() -> None:
    subprocess.run(["/bin/true"], check=True)


def _commit_row() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO bench_row VALUES (1)")
