"""What the lists can be narrowed by."""

from django.db.models import Q, QuerySet
from django_filters import rest_framework as filters

from runners.models import Operation, Project, Runner, Session, UsageEntry
from runners.states import TERMINAL, CostSource, ItemResult, OperationStatus, ProjectStatus, Role, RunnerStatus


class UUIDInFilter(filters.BaseInFilter, filters.UUIDFilter):  # type: ignore[misc]  # django-filter has no types
    """Several ids, separated by commas."""


class ProjectFilter(filters.FilterSet):  # type: ignore[misc]
    status = filters.MultipleChoiceFilter(choices=ProjectStatus.choices, label="Repeat it for several.")
    search = filters.CharFilter(method="found", label="Part of the name, path or description.")

    class Meta:
        model = Project
        fields: list[str] = []

    def found(self, queryset: QuerySet[Project], name: str, value: str) -> QuerySet[Project]:
        return queryset.filter(Q(name__icontains=value) | Q(path__icontains=value) | Q(description__icontains=value))


class RunnerFilter(filters.FilterSet):  # type: ignore[misc]
    id = UUIDInFilter(field_name="pk", label="Several ids, separated by commas.")
    status = filters.MultipleChoiceFilter(choices=RunnerStatus.choices, label="Repeat it for several.")
    open = filters.BooleanFilter(method="is_open", label="true: has not ended; false: has ended.")
    project = filters.CharFilter(field_name="project__name", label="Name of the project.")
    node = filters.CharFilter(field_name="node__name", label="Name of the node.")
    backend = filters.CharFilter(field_name="backend")
    label = filters.CharFilter(method="labelled", label="Asked for a node with this label.")
    session = filters.UUIDFilter(field_name="session_id")
    created_after = filters.IsoDateTimeFilter(
        field_name="created_at", lookup_expr="gte", label="At that time or later."
    )
    created_before = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="lt", label="Before that time.")
    search = filters.CharFilter(method="found", label="Part of the name, prompt or reason.")

    class Meta:
        model = Runner
        fields: list[str] = []

    def labelled(self, queryset: QuerySet[Runner], name: str, value: str) -> QuerySet[Runner]:
        return queryset.filter(labels__contains=[value])

    def is_open(self, queryset: QuerySet[Runner], name: str, value: bool) -> QuerySet[Runner]:
        return queryset.exclude(status__in=TERMINAL) if value else queryset.filter(status__in=TERMINAL)

    def found(self, queryset: QuerySet[Runner], name: str, value: str) -> QuerySet[Runner]:
        return queryset.filter(Q(name__icontains=value) | Q(prompt__icontains=value) | Q(reason__icontains=value))


class SessionFilter(filters.FilterSet):  # type: ignore[misc]
    project = filters.CharFilter(field_name="project__name", label="Name of the project.")
    backend = filters.CharFilter(field_name="backend")
    external_id = filters.CharFilter(field_name="external_id", label="The program's own id of the conversation.")
    started_after = filters.IsoDateTimeFilter(
        field_name="started_at", lookup_expr="gte", label="At that time or later."
    )
    started_before = filters.IsoDateTimeFilter(field_name="started_at", lookup_expr="lt", label="Before that time.")
    search = filters.CharFilter(field_name="title", lookup_expr="icontains", label="Part of the title.")

    class Meta:
        model = Session
        fields: list[str] = []


class MessageFilter(filters.FilterSet):  # type: ignore[misc]
    role = filters.MultipleChoiceFilter(choices=Role.choices, label="Repeat it for several.")

    class Meta:
        fields: list[str] = []


class UsageFilter(filters.FilterSet):  # type: ignore[misc]
    runner = filters.UUIDFilter(field_name="runner_id")
    session = filters.UUIDFilter(field_name="session_id")
    project = filters.CharFilter(field_name="session__project__name", label="Name of the project.")
    model = filters.CharFilter(field_name="model")
    source = filters.MultipleChoiceFilter(choices=CostSource.choices, label="Repeat it for several.")
    after = filters.IsoDateTimeFilter(field_name="at", lookup_expr="gte", label="At that time or later.")
    before = filters.IsoDateTimeFilter(field_name="at", lookup_expr="lt", label="Before that time.")

    class Meta:
        model = UsageEntry
        fields: list[str] = []


class OperationFilter(filters.FilterSet):  # type: ignore[misc]
    status = filters.MultipleChoiceFilter(choices=OperationStatus.choices, label="Repeat it for several.")
    verb = filters.CharFilter(field_name="verb")

    class Meta:
        model = Operation
        fields: list[str] = []


class OperationItemFilter(filters.FilterSet):  # type: ignore[misc]
    result = filters.MultipleChoiceFilter(choices=ItemResult.choices, label="Repeat it for several.")

    class Meta:
        fields: list[str] = []
