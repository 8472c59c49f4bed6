"""The audit log over HTTP: read it, verify it."""

from typing import Any

import django_filters
from django.db.models import Q, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from outbox.models import AuditEntry
from outbox.services.verify import START, Checkpoint, take_checkpoint, verify
from outbox.states import Source

#: Positions verified in one request: some 4 s.
MAX_VERIFIED = 100_000


class MayReadAuditLog(IsAuthenticated):
    """It tells addresses and habits of people: not for everyone who is signed in."""

    message = "That needs the permission outbox.view_auditentry."

    def has_permission(self, request: Request, view: Any) -> bool:
        return super().has_permission(request, view) and request.user.has_perm("outbox.view_auditentry")


class AuditFilter(django_filters.FilterSet):  # type: ignore[misc]
    actor = django_filters.CharFilter(label="user:ada; a family with `*`: token:ada/*", method="by_name")
    action = django_filters.CharFilter(label="runner.stop; a family with `*`: runner.*", method="by_name")
    source = django_filters.MultipleChoiceFilter(choices=Source.choices, label="Repeat it for several.")
    target_type = django_filters.CharFilter(label="runner, project, user, …")
    target_id = django_filters.CharFilter()
    request_id = django_filters.CharFilter(label="As in the logs.")
    ip = django_filters.CharFilter()
    at_after = django_filters.IsoDateTimeFilter(field_name="at", lookup_expr="gte", label="At that time or later.")
    at_before = django_filters.IsoDateTimeFilter(field_name="at", lookup_expr="lt", label="Before that time.")
    search = django_filters.CharFilter(method="found", label="Part of the actor, the target's name or the reason.")

    class Meta:
        model = AuditEntry
        fields: list[str] = []

    def by_name(self, acts: QuerySet[AuditEntry], name: str, value: str) -> QuerySet[AuditEntry]:
        family = value.removesuffix("*")
        return acts.filter(**{f"{name}__startswith" if family != value else name: family})

    def found(self, acts: QuerySet[AuditEntry], name: str, value: str) -> QuerySet[AuditEntry]:
        return acts.filter(Q(actor__icontains=value) | Q(target_name__icontains=value) | Q(reason__icontains=value))


class AuditEntrySerializer(serializers.ModelSerializer[AuditEntry]):
    position = serializers.SerializerMethodField(help_text="Its place in the chain; null until it is sealed.")

    class Meta:
        model = AuditEntry
        fields = [
            "id",
            "position",
            "at",
            "actor",
            "source",
            "ip",
            "request_id",
            "action",
            "target_type",
            "target_id",
            "target_name",
            "before",
            "after",
            "reason",
            "key_id",
            "mac",
        ]
        read_only_fields = fields

    def get_position(self, entry: AuditEntry) -> int | None:
        seal = getattr(entry, "seal", None)
        return seal.position if seal else None


class BrokenSerializer(serializers.Serializer[Any]):
    what = serializers.CharField()
    position = serializers.IntegerField(allow_null=True)
    entry_id = serializers.IntegerField(allow_null=True)


class VerdictSerializer(serializers.Serializer[Any]):
    whole = serializers.SerializerMethodField(help_text="Whether all that was looked at is as it was written.")
    complete = serializers.BooleanField(help_text="false: go on with `after` set to `head`.")
    head = serializers.CharField(help_text="The last good position and its mac.")
    checked = serializers.IntegerField()
    unsealed = serializers.IntegerField(help_text="Acts that have no place in the chain yet.")
    broken = BrokenSerializer(allow_null=True)

    def get_whole(self, verdict: Any) -> bool:
        return verdict.broken is None


class CheckpointSerializer(serializers.Serializer[Any]):
    checkpoint = serializers.CharField(help_text="Keep it elsewhere; give it to `verify/`.")


@extend_schema_view(
    list=extend_schema(summary="List acts, newest first"), retrieve=extend_schema(summary="Show an act")
)
@extend_schema(tags=["audit"])
class AuditViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[AuditEntry]):
    """Who did what, from where, on what."""

    serializer_class = AuditEntrySerializer
    permission_classes = [MayReadAuditLog]
    filterset_class = AuditFilter
    lookup_value_converter = "int"

    def get_queryset(self) -> QuerySet[AuditEntry]:
        return AuditEntry.objects.select_related("seal").order_by("-pk")

    @extend_schema(
        operation_id="audit_verify",
        summary="Verify the chain",
        parameters=[
            OpenApiParameter("checkpoint", str, description="What `checkpoint/` told once: shows what was cut off."),
            OpenApiParameter("after", str, description="Go on from the `head` of the answer before."),
        ],
        responses=VerdictSerializer,
    )
    @action(detail=False, filterset_class=None, pagination_class=None)
    def verify(self, request: Request) -> Response:
        """Names the first broken row. At most 100,000 positions a request."""
        checkpoint = _checkpoint(request, "checkpoint")
        verdict = verify(checkpoint=checkpoint, after=_checkpoint(request, "after") or START, limit=MAX_VERIFIED)
        return Response(VerdictSerializer(verdict).data)

    @extend_schema(
        operation_id="audit_checkpoint", summary="Tell how far the chain reaches", responses=CheckpointSerializer
    )
    @action(detail=False, filterset_class=None, pagination_class=None)
    def checkpoint(self, request: Request) -> Response:
        return Response({"checkpoint": str(take_checkpoint())})


def _checkpoint(request: Request, name: str) -> Checkpoint | None:
    text = request.query_params.get(name, "")
    try:
        return Checkpoint.parse(text) if text else None
    except ValueError as error:
        raise ValidationError({name: [str(error)]}) from None
