"""Budgets over the wire."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from runners.api.strict import StrictSerializer
from runners.models import BudgetRaise
from runners.models.budget import SMALLEST_LIMIT
from runners.services.forecast import forecast
from runners.services.standing import Standing
from runners.states import BudgetAction, BudgetScope, BudgetUnit, Period


def amount(**options: Any) -> serializers.DecimalField:
    """An amount in the budget's unit."""
    return serializers.DecimalField(max_digits=24, decimal_places=8, **options)


class BudgetSerializer(serializers.Serializer[Any]):
    """A budget, and where it stands in its present period."""

    id = serializers.IntegerField(source="budget.pk")
    name = serializers.CharField(source="budget.name")
    scope = serializers.ChoiceField(source="budget.scope", choices=BudgetScope.choices)
    scope_key = serializers.CharField(source="budget.scope_key")
    period = serializers.ChoiceField(source="budget.period", choices=Period.choices)
    time_zone = serializers.CharField(source="budget.time_zone")
    unit = serializers.ChoiceField(source="budget.unit", choices=BudgetUnit.choices)
    limit = amount(source="budget.limit", help_text="Its own, without what it is raised by.")
    action = serializers.ChoiceField(source="budget.action", choices=BudgetAction.choices)
    active = serializers.BooleanField(source="budget.active")
    period_start = serializers.DateTimeField(source="bounds.start")
    period_end = serializers.DateTimeField(source="bounds.end")
    raised = amount(help_text="By how much it is raised now.")
    limit_now = amount(source="limit", help_text="What counts: its own limit and the raises.")
    used = amount()
    unknown_tokens = serializers.IntegerField(
        help_text="Tokens of which nobody knows the cost: a budget in dollars does not count them."
    )
    percent = serializers.DecimalField(max_digits=12, decimal_places=2)
    is_spent = serializers.BooleanField()
    created_at = serializers.DateTimeField(source="budget.created_at")


class ForecastSerializer(serializers.Serializer[Any]):
    per_hour = serializers.DecimalField(max_digits=24, decimal_places=8, help_text="As it went lately.")
    window_seconds = serializers.SerializerMethodField(help_text="What lately is.")
    spent_at = serializers.DateTimeField(allow_null=True, help_text="null: not before it begins anew.")

    def get_window_seconds(self, found: Any) -> int:
        return int(found.window.total_seconds())


class BudgetDetailSerializer(BudgetSerializer):
    forecast = serializers.SerializerMethodField()

    @extend_schema_field(ForecastSerializer)
    def get_forecast(self, standing: Standing) -> Any:
        return ForecastSerializer(forecast(standing)).data


class BudgetChangeSerializer(StrictSerializer):
    """What of a budget may be changed. What it counts stays."""

    name = serializers.CharField(max_length=80, required=False)
    limit = amount(min_value=SMALLEST_LIMIT, required=False)
    action = serializers.ChoiceField(choices=BudgetAction.choices, required=False)
    active = serializers.BooleanField(required=False)


class NewBudgetSerializer(BudgetChangeSerializer):
    name = serializers.CharField(max_length=80)
    scope = serializers.ChoiceField(choices=BudgetScope.choices)
    scope_key = serializers.CharField(
        max_length=100,
        required=False,
        allow_blank=True,
        help_text="Name of the project, agent or personality, or the runner's id; empty for everything.",
    )
    period = serializers.ChoiceField(choices=Period.choices)
    time_zone = serializers.CharField(max_length=64, required=False, help_text="An IANA name; UTC without.")
    unit = serializers.ChoiceField(choices=BudgetUnit.choices)
    limit = amount(min_value=SMALLEST_LIMIT)


class RaiseSerializer(StrictSerializer):
    amount = amount(min_value=SMALLEST_LIMIT, help_text="By how much, in the budget's unit.")
    reason = serializers.CharField(max_length=500)
    until = serializers.DateTimeField(required=False, help_text="Without: to the end of the present period.")


class MadeRaiseSerializer(serializers.ModelSerializer[BudgetRaise]):
    class Meta:
        model = BudgetRaise
        fields = ["id", "amount", "reason", "actor", "made_at", "until"]
