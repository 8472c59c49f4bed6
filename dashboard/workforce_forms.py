"""What people type of agents and jobs. The services decide; these only read words."""

import json
from collections.abc import Mapping
from typing import Any

from django import forms

from agents.exceptions import StaleEdit
from agents.models import Job, Personality
from agents.services import contents_of
from agents.services.spawn import MAX_AT_ONCE
from agents.states import Priority
from runners.models import Project

LINES = {"rows": 3}


class _Refusable(forms.Form):
    def refuse(self, message: str, field: str | None) -> None:
        """Show a refusal at the field it names, else above the form."""
        self.add_error(field if field in self.fields else None, message)


class SpawnForm(_Refusable):
    """Some agents of one personality: "12 cadets"."""

    count = forms.IntegerField(min_value=1, max_value=MAX_AT_ONCE, initial=1, label="How many")
    personality = forms.ChoiceField()
    project = forms.ChoiceField(required=False, help_text="Where they work; without one, wherever there is work.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _choices(self, "personality", list(Personality.objects.values_list("name", flat=True)))
        _choices(self, "project", _projects(), empty="Any project")


class JobForm(_Refusable):
    """A new job as typed."""

    title = forms.CharField(max_length=200)
    description = forms.CharField(
        required=False, max_length=100_000, widget=forms.Textarea(attrs={"rows": 6}), help_text="What is to be done."
    )
    project = forms.ChoiceField(required=False, help_text="Without one it is done in its agent's project.")
    priority = forms.ChoiceField(choices=Priority.choices, initial=Priority.MEDIUM)
    labels = forms.CharField(required=False, max_length=1_000, help_text="Separated by commas.")
    estimated_hours = forms.DecimalField(required=False, min_value=0, max_digits=8, decimal_places=2)
    dependencies = forms.CharField(
        required=False,
        max_length=20_000,
        label="Waits for",
        help_text="Ids of jobs, separated by blanks or commas.",
        widget=forms.TextInput(attrs={"class": "mono", "placeholder": "job-2026-05-04-007"}),
    )
    deliverables = forms.CharField(
        required=False, widget=forms.Textarea(attrs=LINES), help_text="What it must bring, one a line."
    )
    wanted_agent = forms.CharField(
        required=False, max_length=60, label="Only for the agent", help_text="Empty: whoever suits it."
    )
    wanted_person = forms.CharField(
        required=False, max_length=150, label="Only for the person", help_text="Then no agent is given the job."
    )
    worktree = forms.BooleanField(required=False, label="In a git worktree of its own")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _choices(self, "project", _projects(), empty="None")

    def clean_description(self) -> str:
        # Browsers send the ends of lines as the network has them.
        return str(self.cleaned_data["description"]).replace("\r\n", "\n")

    def clean_estimated_hours(self) -> str | None:
        hours = self.cleaned_data["estimated_hours"]
        return None if hours is None else f"{hours.normalize():f}"

    def clean_labels(self) -> list[str]:
        return [word.strip() for word in self.cleaned_data["labels"].split(",") if word.strip()]

    def clean_dependencies(self) -> list[str]:
        return words(self.cleaned_data["dependencies"])

    def clean_deliverables(self) -> list[str]:
        return [line.strip() for line in self.cleaned_data["deliverables"].splitlines() if line.strip()]


class EditForm(JobForm):
    """A job as it is to be, and as it was when the form was shown: only what differs is written."""

    seen = forms.CharField(widget=forms.HiddenInput, max_length=400_000)

    def __init__(self, *args: Any, job: Job, **kwargs: Any) -> None:
        contents = contents_of(job)
        super().__init__(
            *args, initial={**as_typed(contents), "seen": json.dumps(contents, ensure_ascii=False)}, **kwargs
        )
        if contents["project"] and contents["project"] not in _projects():
            _choices(self, "project", [*_projects(), contents["project"]], empty="None")

    def clean_seen(self) -> dict[str, Any]:
        try:
            seen = json.loads(self.cleaned_data["seen"])
        except ValueError:
            seen = None
        if not isinstance(seen, dict):
            raise forms.ValidationError("What you saw is not known any more: open the page again.")
        return seen

    def clean_dependencies(self) -> list[str]:
        return sorted(set(super().clean_dependencies()))

    def clean(self) -> dict[str, Any]:
        """Take for unchanged what reads as what was shown does: fields lose blanks at their ends, and the like."""
        typed = dict(self.cleaned_data)
        seen = typed.get("seen", {})
        shown = JobForm(as_typed(seen))
        shown.full_clean()
        return typed | {name: seen[name] for name, value in shown.cleaned_data.items() if typed.get(name) == value}

    def refuse_stale(self, error: StaleEdit) -> None:
        """Show what others wrote beside what was typed; sent again, what was typed takes its place."""
        now: dict[str, Any] = error.facts["now"]
        for name, value in now.items():
            shown = as_typed({name: value})[name]
            text = f"“{shown}”" if shown not in ("", None) else "nothing"
            self.add_error(
                name, f"Changed meanwhile to {text}. What you typed is still here: save again to replace it."
            )
        self.data = {**self.data.dict(), "seen": json.dumps({**self.cleaned_data["seen"], **now}, ensure_ascii=False)}  # type: ignore[attr-defined]


#: How lists are typed.
JOINED = {"labels": ", ", "dependencies": ", ", "deliverables": "\n"}


def as_typed(contents: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job's contents as the form's fields show them. Whatever came back from a browser is borne."""
    shown = dict(contents)
    for name, join in JOINED.items():
        if isinstance(shown.get(name), list):
            shown[name] = join.join(map(str, shown[name]))
    return shown


def words(text: str) -> list[str]:
    """Return what blanks and commas separate."""
    return text.replace(",", " ").split()


def _projects() -> list[str]:
    return list(Project.objects.open().values_list("name", flat=True))


def _choices(form: forms.Form, name: str, values: list[str], *, empty: str = "") -> None:
    field = form.fields[name]
    assert isinstance(field, forms.ChoiceField)  # noqa: S101 - declared so above
    field.choices = [*([("", empty)] if empty else []), *((value, value) for value in values)]
