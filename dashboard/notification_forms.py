"""What people type about notification targets."""

from typing import Any

from django import forms

from dashboard.workforce_forms import words
from outbox.models import NotificationTarget
from outbox.states import Severity

#: Empty rows that a form offers beside the rules there are.
SPARE_RULES = 2


class TargetForm(forms.Form):
    """A target as typed. Its URL goes in and never out: a form that comes back has it empty."""

    name = forms.SlugField(max_length=60, help_text="Short: letters, digits and hyphens.")
    url = forms.CharField(
        max_length=2_000,
        label="Apprise URL",
        help_text="As in ntfy://host/topic, tgram://token/chat, slack://…, mailtos://…. Kept encrypted, never shown.",
        widget=forms.PasswordInput(attrs={"class": "mono", "autocomplete": "off"}),
    )
    settle_seconds = forms.IntegerField(
        min_value=0,
        max_value=3_600,
        initial=5,
        label="Wait before a message, in seconds",
        help_text="Others of the same trouble come along in it.",
    )
    window_seconds = forms.IntegerField(
        min_value=0,
        max_value=86_400,
        initial=60,
        label="Collect after a message, in seconds",
        help_text="So 500 failures are one or two messages.",
    )
    quiet_from = forms.TimeField(required=False, label="Quiet from", widget=forms.TimeInput(attrs={"type": "time"}))
    quiet_until = forms.TimeField(
        required=False,
        label="Quiet until",
        help_text="What comes in between is one message at the end. May span midnight.",
        widget=forms.TimeInput(attrs={"type": "time"}),
    )
    time_zone = forms.CharField(max_length=60, initial="UTC", help_text="Whose hours they are, as in Europe/Berlin.")
    critical_passes = forms.BooleanField(
        required=False, initial=True, label="What is critical comes in quiet hours, too"
    )

    def __init__(self, *args: Any, target: NotificationTarget | None = None, **kwargs: Any) -> None:
        if target is not None:
            kwargs["initial"] = {name: getattr(target, name) for name in self.base_fields if name != "url"}
        super().__init__(*args, **kwargs)
        if target is not None:
            # Its name is its address, also in the API.
            del self.fields["name"]
            self.fields["url"].required = False
            self.fields["url"].help_text = f"Empty: it stays as it is ({target.shown})."

    def refuse(self, message: str, facts: Any) -> None:
        """Show a refusal at the field it names, else above the form."""
        field = facts.get("field")
        self.add_error(field if field in self.fields else None, message)


class RuleForm(forms.Form):
    """One rule as typed; a row without events is none."""

    event_types = forms.CharField(
        required=False,
        label="Events",
        widget=forms.TextInput(attrs={"class": "mono", "placeholder": "runner.*, system.alert"}),
    )
    severity = forms.ChoiceField(choices=Severity.choices, initial=Severity.WARNING, label="At least")
    projects = forms.CharField(required=False, widget=forms.TextInput(attrs={"placeholder": "all"}))

    def clean_event_types(self) -> list[str]:
        return words(self.cleaned_data["event_types"])

    def clean_projects(self) -> list[str]:
        projects = words(self.cleaned_data["projects"])
        if projects and self.cleaned_data.get("event_types") == []:
            raise forms.ValidationError("Of which events? Empty both, and it is no rule.")
        return projects

    def rule(self) -> dict[str, Any] | None:
        """Return what a service takes; None for an empty row."""
        return dict(self.cleaned_data) if self.cleaned_data.get("event_types") else None


RuleRows = forms.formset_factory(RuleForm, extra=SPARE_RULES, max_num=20)


def rows_of(target: NotificationTarget | None) -> list[dict[str, Any]]:
    """Return the rules of a target as its form shows them; for a new one, what most people want to be told."""
    if target is None:
        return [{"event_types": "system.alert, runner.failed", "severity": Severity.WARNING}]
    return [
        {
            "event_types": ", ".join(rule.event_types),
            "severity": rule.severity,
            "projects": ", ".join(rule.projects),
        }
        for rule in target.rules.all()
    ]
