"""Rules as people type them, and a question to try them on."""

import json
from typing import Any

from django import forms

from runners.models import Project
from runners.models.approval import LONGEST_PATTERN
from runners.states import RuleEffect, RuleScope

MONO = {"class": "mono"}
#: In what field the usual tools have what patterns are held against.
FIELDS = {
    "Edit": "file_path",
    "Write": "file_path",
    "Read": "file_path",
    "NotebookEdit": "notebook_path",
    "WebFetch": "url",
}


class RuleForm(forms.Form):
    """A rule as typed; the service decides whether it may be."""

    effect = forms.ChoiceField(choices=RuleEffect.choices)
    tool = forms.CharField(
        max_length=100,
        widget=forms.TextInput(attrs={**MONO, "placeholder": "Bash"}),
        help_text="* stands for anything.",
    )
    pattern = forms.CharField(
        required=False,
        max_length=LONGEST_PATTERN,
        strip=False,
        widget=forms.TextInput(attrs={**MONO, "placeholder": "git status *"}),
        help_text="Of the command, path or address. Empty: whatever it wants.",
    )
    scope = forms.ChoiceField(choices=[each for each in RuleScope.choices if each[0] != RuleScope.SESSION], label="For")
    scope_key = forms.CharField(
        required=False, max_length=100, label="Which", help_text="Name of the project, agent or personality."
    )
    message = forms.CharField(required=False, max_length=500, help_text="What a denied program is told.")

    def values(self) -> dict[str, Any]:
        """Return what was typed, as the service takes it."""
        return dict(self.cleaned_data)

    def refuse(self, message: str, field: str | None) -> None:
        """Show a refusal at the field it names, else above the form."""
        self.add_error(field if field in self.fields else None, message)


class TrialForm(forms.Form):
    """A question that nobody asked."""

    tool = forms.CharField(max_length=100, widget=forms.TextInput(attrs={**MONO, "placeholder": "Bash"}))
    wants = forms.CharField(
        required=False,
        max_length=20_000,
        strip=False,
        widget=forms.TextInput(attrs={**MONO, "placeholder": "git add . && git push"}),
        help_text="A command, path or address; or the whole input as JSON.",
    )
    project = forms.CharField(required=False, max_length=63, widget=forms.TextInput(attrs={"list": "projects"}))
    agent = forms.CharField(required=False, max_length=60)
    personality = forms.CharField(required=False, max_length=40)

    def tool_input(self) -> dict[str, Any]:
        """Return what the tool would get."""
        text = self.cleaned_data["wants"]
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            return value
        return {FIELDS.get(self.cleaned_data["tool"], "command"): text} if text else {}

    @property
    def projects(self) -> list[str]:
        """Return the names to choose from."""
        return list(Project.objects.open().values_list("name", flat=True))
