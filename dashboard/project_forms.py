"""What people type of projects."""

from typing import Any

from django import forms

from runners.models import ApprovalTerms, Project, ResourceQuota
from runners.models.approval import LONGEST_EXPIRES_SECONDS
from runners.services.labels import MAX_WORD
from runners.services.limits import LARGEST, LIMITS, limits_of_project
from runners.states import Isolation, WorktreeEnd

MOST_TAGS = 50
LONGEST_DESCRIPTION = 10_000
#: Of the form: a hundred years, and more runners than any node has slots.
LONGEST_DAYS = 36_500
MOST_RUNNERS = 100_000
#: Fields that are set by a permission of their own.
TERMS = ("expires_seconds", "message")
LIMIT_NAMES = tuple(limit.name for limit in LIMITS)


class TagsField(forms.CharField):
    """Words separated by commas; its value is a list."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> list[str]:  # type: ignore[override]
        if isinstance(value, list):
            return value
        words = (tag.strip() for tag in str(super().to_python(value)).split(","))
        return list(dict.fromkeys(filter(None, words)))

    def validate(self, value: Any) -> None:
        super().validate(value)
        if len(value) > MOST_TAGS:
            raise forms.ValidationError(f"At most {MOST_TAGS} tags.")
        if long := next((tag for tag in value if len(tag) > MAX_WORD), None):
            raise forms.ValidationError(f"A tag has at most {MAX_WORD} characters: {long[:MAX_WORD]}…")


class ProjectForm(forms.Form):
    """A new project as typed."""

    name = forms.SlugField(max_length=63, help_text="Short: letters, digits and hyphens. It is part of addresses.")
    path = forms.CharField(
        max_length=1_024,
        label="Directory",
        help_text="An absolute directory that is there already, usually a git repository.",
        widget=forms.TextInput(attrs={"class": "mono"}),
    )
    description = forms.CharField(
        required=False, max_length=LONGEST_DESCRIPTION, widget=forms.Textarea(attrs={"rows": 3})
    )
    tags = TagsField(required=False, help_text="Separated by commas.")
    isolation = forms.ChoiceField(
        required=False, choices=Isolation.choices, initial=Isolation.NONE, help_text="Each launch may choose."
    )
    worktree_end = forms.ChoiceField(
        required=False,
        choices=WorktreeEnd.choices,
        initial=WorktreeEnd.KEEP,
        label="A worktree, when its runner has ended",
    )

    def clean_isolation(self) -> str:
        return self.cleaned_data["isolation"] or Isolation.NONE

    def clean_worktree_end(self) -> str:
        return self.cleaned_data["worktree_end"] or WorktreeEnd.KEEP

    def refuse(self, message: str, field: str | None) -> None:
        """Show a refusal at the field it names, else above the form."""
        self.add_error(field if field in self.fields else None, message)


class ProjectSettingsForm(ProjectForm):
    """What of a project may be changed, as typed.

    It brings along what each field held when the page was made: what was not touched is left as others set it since.
    """

    name = None  # type: ignore[assignment]
    path = None  # type: ignore[assignment]
    max_concurrent_runners = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=MOST_RUNNERS,
        label="Runners at once",
        help_text=f"Empty: {ResourceQuota.DEFAULT_MAX_CONCURRENT_RUNNERS}.",
    )
    transcript_days = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=LONGEST_DAYS,
        label="Keep recordings for, in days",
        help_text="From when they are complete; messages, usage and changes stay. Empty: for ever.",
    )
    expires_seconds = forms.IntegerField(
        min_value=1,
        max_value=LONGEST_EXPIRES_SECONDS,
        label="A question waits, in seconds",
        help_text="What a program asks before it acts is denied when nobody has answered by then.",
    )
    message = forms.CharField(
        required=False,
        max_length=500,
        label="What it is told then",
        widget=forms.TextInput(attrs={"placeholder": "Nobody is here at night: go on without it."}),
    )

    def __init__(self, project: Project, typed: Any, *, sets_terms: bool) -> None:
        super().__init__(typed, initial=_as_set(project))
        for limit in LIMITS:
            label = f"{limit.label}, in {limit.unit}" if limit.unit else limit.label
            self.fields[limit.name] = forms.IntegerField(
                required=False, label=label, min_value=limit.minimum, max_value=LARGEST, help_text=limit.help_text
            )
        for name in () if sets_terms else TERMS:
            del self.fields[name]
        for field in self.fields.values():
            field.show_hidden_initial = True

    def clean_description(self) -> str:
        return str(self.cleaned_data["description"]).replace("\r\n", "\n")

    @property
    def limit_fields(self) -> list[forms.BoundField]:
        """Return the fields of the limits, for the page to show together."""
        return [self[name] for name in LIMIT_NAMES]

    def changes(self) -> dict[str, Any]:
        """Return what was changed, as change_project() takes it; valid forms only."""
        changes = {name: self.cleaned_data[name] for name in self.changed_data}
        for part, names in (("limits", LIMIT_NAMES), ("approval_terms", TERMS)):
            if values := {name: changes.pop(name) for name in names if name in changes}:
                changes[part] = values
        return changes


def _as_set(project: Project) -> dict[str, Any]:
    quota = getattr(project, "quota", None)
    terms = getattr(project, "approval_terms", None) or ApprovalTerms(project=project)
    own = ("description", "tags", "isolation", "worktree_end", "transcript_days")
    return {
        **{name: getattr(project, name) for name in own},
        **{name: getattr(terms, name) for name in TERMS},
        "max_concurrent_runners": quota.max_concurrent_runners if quota else None,
        **limits_of_project(project),
    }
