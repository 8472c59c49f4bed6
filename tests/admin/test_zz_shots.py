from collections.abc import Callable
from decimal import Decimal
from datetime import timedelta
import pytest
from django.utils import timezone
from playwright.sync_api import Page
from agents.models import Personality
from agents.services import create_agent
from runners.models import *
from runners.states import *
from tests.callers import make_user
from tests.runners.factories import *
import importlib
from django.apps import apps
pytestmark = [pytest.mark.django_db(transaction=True)]

def test_shots(web, open_page):
    importlib.import_module("agents.migrations.0002_personalities").seed(apps, None)
    project, node = make_project(name="shop", tags=["web"]), make_node(name="north", programs={"claude_code": {"path": "/x", "version": "2.1.4"}, "demo": {}})
    now = timezone.now()
    for i, status in enumerate(RunnerStatus.values * 2):
        r = make_runner(project=project, node=node, name=f"claude-code-{i:x}9c1", status=status, backend="claude_code", prompt="Make the tests pass, and say what was wrong.", argv=[], created_at=now - timedelta(minutes=7 * i), ended_at=now if status in TERMINAL else None)
        Observation.objects.filter(runner=r).update(cpu_percent=12.5 * i, memory_mb=100 + 33 * i)
        for k in range(12):
            Message.objects.create(session=r.session, runner=r, key=str(k), role=[Role.USER, Role.ASSISTANT, Role.TOOL][k % 3], text="I looked at the failing test: the total is rounded twice.\nThe second call is in cart.py." if k % 3 else "go on", at=now)
        UsageEntry.objects.create(session=r.session, runner=r, key="a", model="sonnet", input_tokens=1234, output_tokens=55, source="reported", cost_usd=Decimal("0.0123"))
        RunnerMove.objects.create(runner=r, generation=1, to_status="starting", actor="user:ada")
        RunnerMove.objects.create(runner=r, generation=1, from_status="starting", to_status="running", actor="system:node", reason="")
    Session.objects.update(title="Make the tests pass", message_count=12, input_tokens=1234, output_tokens=55, cost_usd="0.0123", cost_source="reported")
    a = create_agent(personality="cadet", project="shop", actor="user:ada"); create_agent(personality="debugger", actor="user:ada")
    user = make_user("staff", is_staff=True, is_superuser=True)
    for theme in ("light", "dark"):
        page = open_page(web, user, viewport={"width": 1400, "height": 900}, color_scheme=theme)
        run = Runner.objects.order_by("-created_at")[2]
        for name, address in {
            "index": "/admin/", "runners": "/admin/runners/runner/", "runner": f"/admin/runners/runner/{run.pk}/change/",
            "projects": "/admin/runners/project/", "project": f"/admin/runners/project/{project.pk}/change/", "nodes": "/admin/runners/node/",
            "sessions": "/admin/runners/session/", "session": f"/admin/runners/session/{run.session_id}/change/", "usage": "/admin/runners/usageentry/",
            "personality": f"/admin/agents/personality/{Personality.objects.first().pk}/change/", "agents": "/admin/agents/agent/", "agent_add": "/admin/agents/agent/add/",
            "users": "/admin/auth/user/", "outbox": "/admin/outbox/entry/", "docs": "/api/docs/", "messages": "/admin/runners/message/",
        }.items():
            if theme == "dark" and name not in ("runners", "runner"): continue
            page.goto(address); page.wait_for_timeout(500)
            page.screenshot(path=f"/tmp/shots/{name}-{theme}.png")
            if name == "runner":
                for tab in page.locator("nav a, [x-on\\:click*='activeTab']").all_inner_texts(): print("TAB", tab)
        if theme == "light":
            page.goto("/admin/runners/runner/"); page.locator("input.action-select").nth(0).check(); page.locator("input.action-select").nth(1).check(); page.wait_for_timeout(300); page.screenshot(path="/tmp/shots/runners-selected.png")
            page.goto(f"/admin/runners/runner/{run.pk}/change/"); page.get_by_text("Stop", exact=True).first.click(); page.wait_for_timeout(1000); page.screenshot(path="/tmp/shots/runner-stop.png")
