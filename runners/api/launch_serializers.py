"""What to launch, and what to say to an earlier session, over the wire."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from runners.api.examples import LAUNCH_EXAMPLES
from runners.api.limits_serializers import LimitsSerializer
from runners.api.strict import StrictSerializer
from runners.backends.base import LaunchRequest
from runners.services.labels import MAX_LABELS, MAX_WORD
from runners.services.steer import MAX_GRACE_SECONDS
from runners.states import ApprovalMode, ConversationMode, Isolation, OnLimit, RestartPolicy, WorktreeEnd


@extend_schema_serializer(examples=LAUNCH_EXAMPLES)
class LaunchSerializer(StrictSerializer):
    """What to launch. What a backend cannot do with it is refused with 422."""

    project = serializers.CharField(max_length=63, help_text="Name of the project.")
    backend = serializers.CharField(max_length=40, help_text="Name of a backend: RUNNER_BACKENDS has them.")
    name = serializers.CharField(max_length=80, required=False, help_text="For people; it gets one without.")
    argv = serializers.ListField(
        child=serializers.CharField(trim_whitespace=False, allow_blank=True),
        required=False,
        max_length=1000,
        help_text="The command, for the backend `command`.",
    )
    prompt = serializers.CharField(required=False, allow_blank=True, trim_whitespace=False)
    model = serializers.CharField(max_length=100, required=False, allow_blank=True)
    flags = serializers.ListField(
        child=serializers.CharField(trim_whitespace=False),
        required=False,
        max_length=200,
        help_text="Extra flags for the program, each allowed by its backend.",
    )
    environment = serializers.DictField(
        child=serializers.CharField(trim_whitespace=False, allow_blank=True), required=False
    )
    workspace = serializers.CharField(
        max_length=1024,
        required=False,
        allow_blank=True,
        help_text="Directory below the project's own; it is the default.",
    )
    isolation = serializers.ChoiceField(
        choices=Isolation.choices, required=False, help_text="Without: as the project says."
    )
    worktree_end = serializers.ChoiceField(
        choices=WorktreeEnd.choices,
        required=False,
        help_text="What becomes of the worktree at the runner's end. Without: as the project says.",
    )
    runtime = serializers.CharField(
        max_length=20, required=False, help_text="process, as without it, or container: then an image is needed."
    )
    image = serializers.CharField(
        max_length=300, required=False, allow_blank=True, help_text="Of those that the settings allow."
    )
    network = serializers.CharField(
        max_length=64, required=False, allow_blank=True, help_text="none, as without it, or one the settings allow."
    )
    container_user = serializers.CharField(
        max_length=40,
        required=False,
        allow_blank=True,
        help_text="uid or uid:gid, of those the settings allow; without: the owner of the workspace.",
    )
    conversation_mode = serializers.ChoiceField(choices=ConversationMode.choices, required=False)
    session_id = serializers.UUIDField(required=False, help_text="The session to go on with.")
    approvals = serializers.ChoiceField(
        choices=ApprovalMode.choices,
        required=False,
        help_text="What its program may not do by itself is denied (as without it), or asked for: see /approvals/.",
    )
    at_message = serializers.IntegerField(
        required=False, min_value=1, help_text="The last of its messages to go on from; what follows stays as it is."
    )
    grace_seconds = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=MAX_GRACE_SECONDS,
        help_text="From SIGINT to SIGKILL; without: the backend's.",
    )
    labels = serializers.ListField(
        child=serializers.CharField(max_length=MAX_WORD),
        required=False,
        max_length=MAX_LABELS,
        help_text="It goes to a node that has all of these, and of such to the one with the most free slots.",
    )
    limits = LimitsSerializer(required=False, help_text="None may be looser than the project's.")
    on_limit = serializers.ChoiceField(
        choices=OnLimit.choices,
        required=False,
        help_text="Where quota or nodes are full: refuse (as without it), or wait: the runner is `queued`.",
    )
    priority = serializers.IntegerField(
        required=False,
        min_value=-100,
        max_value=100,
        help_text="Of two that wait in a project, the higher starts first.",
    )
    restart_policy = serializers.ChoiceField(choices=RestartPolicy.choices, required=False)
    max_restarts = serializers.IntegerField(
        required=False, min_value=0, max_value=1000, help_text="Within ten minutes; then it stays ended."
    )

    def launch_request(self) -> LaunchRequest:
        """Return the valid data as the service takes it."""
        return launch_request(self.validated_data)


def launch_request(valid: Mapping[str, Any]) -> LaunchRequest:
    """Return a launch's valid data as the service takes it."""
    data = {name: value for name, value in valid.items() if name != "project"}
    if "session_id" in data:
        data["session_id"] = str(data["session_id"])
    return LaunchRequest(**data)


class GoOnSerializer(StrictSerializer):
    """What to say to an earlier session. What is not given is as its last runner had it."""

    prompt = serializers.CharField(required=False, allow_blank=True, trim_whitespace=False)
    at_message = serializers.IntegerField(
        required=False,
        min_value=1,
        help_text=(
            "The last message to go on from, with the results of the tools that it calls; of a user's prompt it is the "
            "message before. Without: the end."
        ),
    )
    name = serializers.CharField(max_length=80, required=False)
    model = serializers.CharField(max_length=100, required=False, allow_blank=True)
    flags = serializers.ListField(child=serializers.CharField(trim_whitespace=False), required=False, max_length=200)
    labels = serializers.ListField(
        child=serializers.CharField(max_length=MAX_WORD), required=False, max_length=MAX_LABELS
    )
    grace_seconds = serializers.IntegerField(required=False, min_value=0, max_value=MAX_GRACE_SECONDS)
    on_limit = serializers.ChoiceField(
        choices=OnLimit.choices, required=False, help_text="wait: for a slot of the node that has the conversation."
    )
