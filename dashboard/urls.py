"""The addresses of the pages."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from dashboard.views import (
    audit,
    budgets,
    events,
    launch,
    nodes,
    operations,
    overview,
    projects,
    reconciler,
    runners,
    sessions,
    signin,
    usage,
    webhooks,
)

app_name = "dashboard"

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("login/", signin.SignIn.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("launch/", launch.launch, name="launch"),
    path("runners/", runners.runners, name="runners"),
    path("runners/<uuid:runner_id>/", runners.runner, name="runner"),
    path("runners/<uuid:runner_id>/output/", runners.output, name="output"),
    path("runners/<uuid:runner_id>/worktree/", runners.worktree, name="worktree"),
    path("runners/<uuid:runner_id>/<slug:verb>/", runners.steer, name="steer"),
    path("sessions/", sessions.sessions, name="sessions"),
    path("sessions/<uuid:session_id>/", sessions.session, name="session"),
    path("sessions/<uuid:session_id>/messages/", sessions.messages, name="messages"),
    path("projects/", projects.projects, name="projects"),
    path("new-project/", projects.new_project, name="new_project"),
    path("projects/<slug:name>/", projects.project, name="project"),
    path("projects/<slug:name>/archive/", projects.archive, name="archive_project"),
    path("usage/", usage.usage, name="usage"),
    path("budgets/", budgets.budgets, name="budgets"),
    path("new-budget/", budgets.new_budget, name="new_budget"),
    path("budgets/<int:budget_id>/raise/", budgets.raise_one, name="raise_budget"),
    path("budgets/<int:budget_id>/switch/<slug:verb>/", budgets.switch, name="switch_budget"),
    path("nodes/", nodes.nodes, name="nodes"),
    path("audit/", audit.audit, name="audit"),
    path("reconciler/", reconciler.reconciler, name="reconciler"),
    path("reconciler/run/", reconciler.run, name="run_reconciler"),
    path("operations/", operations.operations, name="operations"),
    path("operations/new/", operations.new_operation, name="new_operation"),
    path("operations/<uuid:operation_id>/", operations.operation, name="operation"),
    path("operations/<uuid:operation_id>/cancel/", operations.cancel, name="cancel_operation"),
    path("events/", events.events, name="events"),
    path("webhooks/", webhooks.webhooks, name="webhooks"),
    path("new-webhook/", webhooks.new_webhook, name="new_webhook"),
    path("webhooks/<uuid:webhook_id>/", webhooks.webhook, name="webhook"),
    path("webhooks/<uuid:webhook_id>/secret/", webhooks.new_secret, name="new_secret"),
    path("webhooks/<uuid:webhook_id>/deliveries/<int:delivery_id>/", webhooks.delivery, name="delivery"),
    path("webhooks/<uuid:webhook_id>/deliveries/<int:delivery_id>/again/", webhooks.send_again, name="send_again"),
    path("webhooks/<uuid:webhook_id>/<slug:verb>/", webhooks.act_on_webhook, name="act_on_webhook"),
]
