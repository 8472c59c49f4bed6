"""What people type about webhooks."""

from typing import Any

from django import forms

from dashboard.workforce_forms import words


class WebhookForm(forms.Form):
    """A new webhook as typed."""

    url = forms.CharField(
        max_length=2_000,
        label="URL",
        help_text="https://, at a public address. It gets a POST for each event.",
        widget=forms.TextInput(attrs={"class": "mono", "placeholder": "https://example.com/hooks/stratavore"}),
    )
    description = forms.CharField(required=False, max_length=200, help_text="What it is for.")
    event_types = forms.CharField(
        initial="*",
        label="Events",
        help_text="Types or patterns, separated by commas: runner.failed, session.*; * is all of them.",
        widget=forms.TextInput(attrs={"class": "mono"}),
    )
    projects = forms.CharField(
        required=False, help_text="Names, separated by commas; empty: all. What belongs to no project comes anyway."
    )

    def clean_event_types(self) -> list[str]:
        return words(self.cleaned_data["event_types"])

    def clean_projects(self) -> list[str]:
        return words(self.cleaned_data["projects"])

    def refuse(self, message: str, facts: Any) -> None:
        """Show a refusal at the field it names, else above the form."""
        field = facts.get("field")
        self.add_error(field if field in self.fields else None, message)
