"""What the lists can be narrowed by."""

from django.db.models import Q, QuerySet
from django_filters import rest_framework as filters

from agents.models import Agent, Assignment, Job, TimeEntry, Todo
from agents.states import JOB_ENDED, AgentStatus, Decision, JobStatus, Outcome, Priority, TimeStatus, TodoStatus

REPEAT = "Repeat it for several."


class AgentFilter(filters.FilterSet):  # type: ignore[misc]  # django-filter has no types
    status = filters.MultipleChoiceFilter(choices=AgentStatus.choices, label=REPEAT)
    personality = filters.CharFilter(field_name="personality__name", label="Name of the personality.")
    project = filters.CharFilter(field_name="project__name", label="Name of the project.")
    search = filters.CharFilter(field_name="name", lookup_expr="icontains", label="Part of the name.")

    class Meta:
        model = Agent
        fields: list[str] = []


class JobFilter(filters.FilterSet):  # type: ignore[misc]
    status = filters.MultipleChoiceFilter(choices=JobStatus.choices, label=REPEAT)
    open = filters.BooleanFilter(method="is_open", label="true: work on it has not ended; false: it has.")
    priority = filters.MultipleChoiceFilter(choices=Priority.choices, label=REPEAT)
    decision = filters.MultipleChoiceFilter(choices=[c for c in Decision.choices if c[0]], label=REPEAT)
    needs_decision = filters.BooleanFilter(method="is_undecided", label="true: it asks people what to do.")
    project = filters.CharFilter(field_name="project__name", label="Name of the project.")
    label = filters.CharFilter(method="has_label", label="One of its labels.")
    agent = filters.CharFilter(method="worked_by", label="Name of the agent that works on it, or is meant to.")
    search = filters.CharFilter(method="found", label="Part of the id, title or description.")

    class Meta:
        model = Job
        fields: list[str] = []

    def is_open(self, queryset: QuerySet[Job], name: str, value: bool) -> QuerySet[Job]:
        ended = sorted(JOB_ENDED)
        return queryset.exclude(status__in=ended) if value else queryset.filter(status__in=ended)

    def is_undecided(self, queryset: QuerySet[Job], name: str, value: bool) -> QuerySet[Job]:
        return queryset.exclude(decision="") if value else queryset.filter(decision="")

    def has_label(self, queryset: QuerySet[Job], name: str, value: str) -> QuerySet[Job]:
        return queryset.filter(labels__contains=[value])

    def worked_by(self, queryset: QuerySet[Job], name: str, value: str) -> QuerySet[Job]:
        working = Assignment.objects.open().filter(agent__name=value)
        return queryset.filter(Q(wanted_agent__name=value) | Q(pk__in=working.values("job_id")))

    def found(self, queryset: QuerySet[Job], name: str, value: str) -> QuerySet[Job]:
        return queryset.filter(Q(pk__icontains=value) | Q(title__icontains=value) | Q(description__icontains=value))


class AssignmentFilter(filters.FilterSet):  # type: ignore[misc]
    job = filters.CharFilter(field_name="job_id", label="Id of the job.")
    agent = filters.CharFilter(field_name="agent__name", label="Name of the agent.")
    person = filters.CharFilter(field_name="person__username", label="Name of the person.")
    runner = filters.UUIDFilter(field_name="runner_id")
    outcome = filters.MultipleChoiceFilter(choices=[c for c in Outcome.choices if c[0]], label=REPEAT)
    open = filters.BooleanFilter(field_name="ended_at", lookup_expr="isnull", label="true: it has not ended.")

    class Meta:
        model = Assignment
        fields: list[str] = []


class TodoFilter(filters.FilterSet):  # type: ignore[misc]
    agent = filters.CharFilter(field_name="agent__name", label="Name of the agent.")
    job = filters.CharFilter(field_name="job_id", label="Id of the job.")
    status = filters.MultipleChoiceFilter(choices=TodoStatus.choices, label=REPEAT)
    priority = filters.MultipleChoiceFilter(choices=Priority.choices, label=REPEAT)

    class Meta:
        model = Todo
        fields: list[str] = []


class TimeEntryFilter(filters.FilterSet):  # type: ignore[misc]
    agent = filters.CharFilter(field_name="agent__name", label="Name of the agent.")
    person = filters.CharFilter(field_name="person__username", label="Name of the person.")
    job = filters.CharFilter(field_name="job_id", label="Id of the job.")
    project = filters.CharFilter(field_name="job__project__name", label="Name of the job's project.")
    status = filters.MultipleChoiceFilter(choices=TimeStatus.choices, label=REPEAT)
    after = filters.IsoDateTimeFilter(
        field_name="started_at", lookup_expr="gte", label="Started at that time or later."
    )
    before = filters.IsoDateTimeFilter(field_name="started_at", lookup_expr="lt", label="Started before that time.")

    class Meta:
        model = TimeEntry
        fields: list[str] = []
