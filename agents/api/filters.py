"""What the lists can be narrowed by."""

from django_filters import rest_framework as filters

from agents.models import Agent
from agents.states import AgentStatus


class AgentFilter(filters.FilterSet):  # type: ignore[misc]  # django-filter has no types
    status = filters.MultipleChoiceFilter(choices=AgentStatus.choices, label="Repeat it for several.")
    personality = filters.CharFilter(field_name="personality__name", label="Name of the personality.")
    project = filters.CharFilter(field_name="project__name", label="Name of the project.")
    search = filters.CharFilter(field_name="name", lookup_expr="icontains", label="Part of the name.")

    class Meta:
        model = Agent
        fields: list[str] = []
