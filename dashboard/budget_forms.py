"""What people type of budgets."""

from typing import Any

from django import forms

from runners.models import Project
from runners.models.budget import SMALLEST_LIMIT
from runners.states import BudgetAction, BudgetScope, BudgetUnit, Period


class BudgetForm(forms.Form):
    """A new budget as typed. The services decide whether it may be."""

    name = forms.CharField(max_length=80, help_text="It stands in alerts and refusals.")
    scope = forms.ChoiceField(choices=BudgetScope.choices, label="Counts")
    scope_key = forms.CharField(
        required=False,
        max_length=100,
        label="Which one",
        help_text="Name of the project, agent or personality, or the runner's id. Empty for everything.",
        widget=forms.TextInput(attrs={"list": "projects"}),
    )
    limit = forms.DecimalField(max_digits=24, decimal_places=8, min_value=SMALLEST_LIMIT)
    unit = forms.ChoiceField(
        choices=BudgetUnit.choices,
        help_text="Usage of unknown cost does not count in dollars: add prices for the models you use.",
    )
    period = forms.ChoiceField(choices=Period.choices, initial=Period.DAILY)
    time_zone = forms.CharField(max_length=64, initial="UTC", help_text="In whose calendar, as in Europe/Berlin.")
    action = forms.ChoiceField(choices=BudgetAction.choices, label="When it is spent")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.projects = list(Project.objects.open().values_list("name", flat=True))

    def refuse(self, message: str, field: str | None) -> None:
        """Show a refusal at the field it names, else above the form."""
        self.add_error(field if field in self.fields else None, message)


class RaiseForm(forms.Form):
    """A raise as typed."""

    amount = forms.DecimalField(max_digits=24, decimal_places=8, min_value=SMALLEST_LIMIT, label="Raise by")
    reason = forms.CharField(max_length=500)
    hours = forms.DecimalField(
        required=False,
        min_value=0,
        max_value=10_000,
        label="For how many hours",
        help_text="Empty: to its period's end.",
    )
