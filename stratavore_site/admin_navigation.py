"""The sidebar of the admin."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

#: Title, icon (Material Symbols) and admin page of each entry. A user sees those that they may view.
RECORDS = {
    "Fleet": [
        ("Runners", "terminal", "runners.runner"),
        ("Projects", "folder_code", "runners.project"),
        ("Nodes", "dns", "runners.node"),
        ("Operations", "checklist", "runners.operation"),
        ("Findings", "troubleshoot", "runners.reconcilerfinding"),
        ("Provider limits", "hourglass_top", "runners.providerlimit"),
    ],
    "Approvals": [
        ("Approvals", "approval", "runners.approval"),
        ("Rules", "rule", "runners.approvalrule"),
        ("Terms", "timer", "runners.approvalterms"),
    ],
    "Conversations": [
        ("Sessions", "forum", "runners.session"),
        ("Messages", "chat", "runners.message"),
        ("Search by meaning", "manage_search", "runners.embeddingmodel"),
        ("Transcripts", "movie", "runners.transcript"),
        ("Redaction rules", "password", "runners.redactionrule"),
    ],
    "Spending": [
        ("Usage", "payments", "runners.usageentry"),
        ("Budgets", "savings", "runners.budget"),
        ("Prices", "sell", "runners.modelprice"),
    ],
    "Workforce": [
        ("Agents", "smart_toy", "agents.agent"),
        ("Jobs", "task", "agents.job"),
        ("Assignments", "assignment_ind", "agents.assignment"),
        ("Dispatch", "alt_route", "agents.dispatchsettings"),
        ("Todos", "checklist", "agents.todo"),
        ("Time", "schedule", "agents.timeentry"),
        ("Personalities", "theater_comedy", "agents.personality"),
    ],
    "Records": [
        ("Outbox", "outbox", "outbox.entry"),
        ("Webhooks", "webhook", "outbox.webhook"),
        ("Webhook deliveries", "send", "outbox.webhookdelivery"),
        ("Notification targets", "notifications", "outbox.notificationtarget"),
        ("Notifications", "campaign", "outbox.notification"),
        ("Audit log", "policy", "outbox.auditentry"),
        ("Checks of the audit log", "verified", "outbox.auditcheck"),
        ("Versions of projects", "manage_history", "runners.projectversion"),
        ("Versions of quotas", "manage_history", "runners.quotaversion"),
        ("Versions of budgets", "manage_history", "runners.budgetversion"),
        ("Runner history", "history", "runners.runnermove"),
    ],
    "Access": [
        ("Users", "person", "auth.user"),
        ("Groups", "group", "auth.group"),
        ("API tokens", "key", "stratavore_site.accesstoken"),
    ],
}


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the groups of the sidebar, for unfold."""
    places = [
        # Never the page one is on, though each address begins with theirs.
        {"title": "Dashboard", "icon": "monitoring", "link": reverse("dashboard:overview"), "active": False},
        {"title": "API", "icon": "api", "link": reverse("docs"), "active": False},
    ]
    groups = [_group(request, title, entries) for title, entries in RECORDS.items()]
    return [{"items": places}, *(group for group in groups if group["items"])]


def _group(request: HttpRequest, title: str, entries: list[tuple[str, str, str]]) -> dict[str, Any]:
    items = [
        {"title": label, "icon": icon, "link": reverse(f"admin:{model.replace('.', '_')}_changelist")}
        for label, icon, model in entries
        if _may_view(request, model)
    ]
    return {"title": title, "separator": True, "items": items}


def _may_view(request: HttpRequest, model: str) -> bool:
    app, name = model.split(".")
    return any(request.user.has_perm(f"{app}.{act}_{name}") for act in ("view", "change"))
