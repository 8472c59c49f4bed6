import pytest
from tests.runners.test_main_job import *  # noqa
from tests.runners.test_main_job import launch, make_project, shell, stop_runner
for n in [n for n in list(globals()) if n.startswith('test_')]: del globals()[n]
@pytest.mark.django_db(transaction=True)
def test_probe(stack):
    runner = launch(make_project(), shell("trap '' INT TERM; sleep 300"))
    stop_runner(runner.pk, actor="user:ada", grace_seconds=0)
    runner = stack.wait_for(runner, "terminated", "failed")
    d = stack.run_directory(runner)
    print('STATUS', runner.status, runner.reason)
    for f in ('exit.json','telemetry.jsonl','shim.log','shim.json'):
        print(f, (d/f).read_text() if (d/f).exists() else None)
    for n in stack.processes: print(n, stack.log(n)[-3000:])
    assert 0
