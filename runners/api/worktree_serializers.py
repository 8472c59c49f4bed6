"""A runner's worktree over the wire."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from runners.api.strict import StrictSerializer
from runners.models import Changes, Worktree
from runners.states import WorktreeEnd


class ChangedFileSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    old_path = serializers.CharField(allow_blank=True, help_text="Where it was, if it was renamed.")
    status = serializers.CharField(help_text="As git says: A added, M modified, D deleted, R renamed, T type changed.")
    insertions = serializers.IntegerField(allow_null=True, help_text="null: it is no text.")
    deletions = serializers.IntegerField(allow_null=True)


class ChangesSerializer(serializers.ModelSerializer[Changes]):
    """What stood in the worktree when an attempt ended, against where the worktree began."""

    session_id = serializers.UUIDField(allow_null=True)
    files = ChangedFileSerializer(many=True)

    class Meta:
        model = Changes
        fields = [
            "generation",
            "session_id",
            "branch",
            "base",
            "head",
            "file_count",
            "insertions",
            "deletions",
            "files",
            "patch",
            "truncated",
            "taken_at",
        ]


class WorktreeSerializer(serializers.ModelSerializer[Worktree]):
    """Where it is and what became of it, with the changes of its runner's last ended attempt."""

    node = serializers.CharField(source="node.name")
    changes = serializers.SerializerMethodField(help_text="null: no attempt has ended yet.")

    class Meta:
        model = Worktree
        fields = [
            "branch", "base", "state", "wanted", "note", "node", "repository", "path", "changed_at", "changes",
        ]  # fmt: skip

    @extend_schema_field(ChangesSerializer(allow_null=True))
    def get_changes(self, worktree: Worktree) -> Any:
        last = Changes.objects.filter(runner=worktree.runner_id).order_by("-generation").first()
        return ChangesSerializer(last).data if last else None


class EndWorktreeSerializer(StrictSerializer):
    how = serializers.ChoiceField(choices=[WorktreeEnd.MERGE, WorktreeEnd.REMOVE])
