"""What people type of a launch."""

import shlex
from typing import Any

from django import forms
from django.conf import settings
from django.http import QueryDict

from runners.backends import all_backends
from runners.backends.base import LaunchRequest
from runners.models import Project
from runners.services.containers import CONTAINER, NO_NETWORK
from runners.services.limits import LARGEST, LIMITS, Limit
from runners.states import ApprovalMode, ConversationMode, Isolation, OnLimit, RestartPolicy, WorktreeEnd


class LaunchForm(forms.Form):
    """A launch as typed. The services decide whether it may be; this only reads words."""

    project = forms.ChoiceField()
    backend = forms.ChoiceField(widget=forms.RadioSelect)
    command = forms.CharField(
        required=False,
        max_length=8_000,
        help_text="As in a shell, with quotes where needed; no shell runs it, so there are no pipes and no variables.",
        widget=forms.TextInput(attrs={"placeholder": "python3 -m pytest -q", "class": "mono"}),
    )
    prompt = forms.CharField(
        required=False,
        max_length=200_000,
        widget=forms.Textarea(attrs={"rows": 6, "placeholder": "What should the agent do?"}),
    )
    model = forms.CharField(required=False, max_length=100, help_text="Empty: the program's own default.")
    flags = forms.CharField(required=False, max_length=2_000, widget=forms.TextInput(attrs={"class": "mono"}))
    workspace = forms.CharField(
        required=False,
        max_length=1_024,
        label="Directory",
        help_text="Below the project's; empty: the project's own.",
        widget=forms.TextInput(attrs={"class": "mono"}),
    )
    isolation = forms.ChoiceField(
        required=False, choices=[("", "As the project says"), *Isolation.choices], label="Isolation"
    )
    worktree_end = forms.ChoiceField(
        required=False,
        choices=[("", "As the project says"), *WorktreeEnd.choices],
        label="Its worktree, when it has ended",
    )
    name = forms.CharField(required=False, max_length=80, help_text="Empty: one is made up.")
    grace_seconds = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=3_600,
        label="Grace, in seconds",
        help_text="From asking it to stop to ending it. Empty: as its program needs.",
    )
    labels = forms.CharField(
        required=False,
        max_length=1_000,
        label="Labels of the node",
        help_text="Words separated by blanks; it goes to a node that has them all.",
        widget=forms.TextInput(attrs={"class": "mono", "placeholder": "gpu"}),
    )
    runtime = forms.ChoiceField(
        required=False,
        choices=[("process", "On the node"), ("container", "In a container")],
        label="Where it runs",
    )
    image = forms.CharField(
        required=False,
        max_length=300,
        help_text="It must have the program, and be on the node already.",
        widget=forms.TextInput(attrs={"class": "mono", "list": "images"}),
    )
    network = forms.ChoiceField(required=False)
    wait = forms.BooleanField(
        required=False, label="Wait for a place", help_text="If quota or nodes are full, queue it instead of refusing."
    )
    restart_policy = forms.ChoiceField(
        required=False,
        choices=RestartPolicy.choices,
        label="Start again by itself",
        help_text="At most three times in ten minutes.",
    )
    approvals = forms.ChoiceField(
        required=False,
        choices=ApprovalMode.choices,
        label="What it may not do by itself",
        help_text="Asked for, it waits in the inbox until rules or people answer. Claude Code can ask.",
    )
    session_id = forms.UUIDField(required=False, widget=forms.HiddenInput)
    fork = forms.BooleanField(required=False, widget=forms.HiddenInput)
    at = forms.IntegerField(required=False, min_value=1, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _choices(self, "project", [(name, name) for name in Project.objects.open().values_list("name", flat=True)])
        _choices(self, "backend", [(backend.name, backend.label) for backend in all_backends()])
        _choices(self, "network", [(name, name) for name in (NO_NETWORK, *settings.CONTAINER_NETWORKS)])
        self.fields |= {limit.name: _limit_field(limit) for limit in LIMITS}

    @property
    def limit_fields(self) -> list[forms.BoundField]:
        """Return the fields of the limits, for the page to show together."""
        return [self[limit.name] for limit in LIMITS]

    @property
    def has_limits(self) -> bool:
        """Say whether one is filled in, or filled in wrongly."""
        return any(field.errors or field.value() for field in self.limit_fields)

    def clean_command(self) -> list[str]:
        return _words(self.cleaned_data["command"])

    def clean_flags(self) -> list[str]:
        return _words(self.cleaned_data["flags"])

    def clean_labels(self) -> list[str]:
        return str(self.cleaned_data["labels"]).replace(",", " ").split()

    def request(self) -> LaunchRequest:
        """Return what was asked for; valid forms only."""
        typed = self.cleaned_data
        session = typed["session_id"]
        contained = typed["runtime"] == CONTAINER
        return LaunchRequest(
            backend=typed["backend"],
            argv=typed["command"] if typed["backend"] == "command" else [],
            prompt=typed["prompt"],
            model=typed["model"],
            flags=typed["flags"],
            workspace=typed["workspace"],
            isolation=typed["isolation"],
            worktree_end=typed["worktree_end"],
            runtime=typed["runtime"] or "process",
            image=typed["image"] if contained else "",
            network=typed["network"] if contained else "",
            name=typed["name"],
            grace_seconds=typed["grace_seconds"],
            labels=typed["labels"],
            limits={limit.name: typed[limit.name] for limit in LIMITS if typed[limit.name] is not None},
            on_limit=OnLimit.WAIT if typed["wait"] else OnLimit.REFUSE,
            restart_policy=typed["restart_policy"] or RestartPolicy.NEVER,
            approvals=typed["approvals"] or ApprovalMode.DENY,
            session_id=str(session) if session else "",
            at_message=typed["at"] if session else None,
            conversation_mode=self._conversation_mode(),
        )

    def _conversation_mode(self) -> ConversationMode:
        if not self.cleaned_data["session_id"]:
            return ConversationMode.NEW
        return ConversationMode.FORK if self.cleaned_data["fork"] else ConversationMode.RESUME

    def refuse(self, message: str, field: str | None) -> None:
        """Show a refusal at the field it names, else above the form."""
        named = {"argv": "command", "path": "workspace", "at_message": None}.get(field or "", field)
        self.add_error(named if named in self.fields else None, message)


def initial_launch(query: QueryDict) -> dict[str, Any]:
    """Return what an address like /launch/?project=x fills in."""
    return {name: query[name] for name in LaunchForm.base_fields if name in query}


def _limit_field(limit: Limit) -> forms.IntegerField:
    label = f"{limit.label}, in {limit.unit}" if limit.unit else limit.label
    return forms.IntegerField(
        required=False, label=label, min_value=limit.minimum, max_value=LARGEST, help_text=limit.help_text
    )


def _choices(form: forms.Form, name: str, choices: list[tuple[str, str]]) -> None:
    field = form.fields[name]
    assert isinstance(field, forms.ChoiceField)  # noqa: S101 - declared so above
    field.choices = choices


def _words(line: str) -> list[str]:
    """Split a line as a shell would."""
    try:
        return shlex.split(line)
    except ValueError as error:
        raise forms.ValidationError(f"This cannot be split into words: {str(error).lower()}.") from None
