"""The usage ledger and its sums."""

from typing import Any
from zoneinfo import ZoneInfo

from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from runners.api.filters import UsageFilter
from runners.api.permissions import ActPermissions
from runners.api.usage_serializers import UsageEntrySerializer
from runners.models import UsageEntry
from runners.services.usage_summary import BY_DAY, GROUPS, summarize, total_of
from runners.zones import zone_names


class SummaryQuerySerializer(serializers.Serializer[Any]):
    group_by = serializers.ChoiceField(choices=[BY_DAY, *GROUPS], default=BY_DAY)
    time_zone = serializers.CharField(default="UTC", help_text="Whose days are meant: an IANA name.")

    def validate_time_zone(self, name: str) -> ZoneInfo:
        if name not in zone_names():
            raise serializers.ValidationError("There is no such time zone.")
        return ZoneInfo(name)


class SumsSerializer(serializers.Serializer[Any]):
    """Tokens and cost of one group."""

    key = serializers.CharField(help_text="The day, or the group's name; empty: it has none.")
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cache_read_tokens = serializers.IntegerField()
    cache_write_tokens = serializers.IntegerField()
    total_tokens = serializers.IntegerField()
    cost_usd = serializers.DecimalField(
        max_digits=20, decimal_places=8, allow_null=True, help_text="The known part; null: nothing of it is known."
    )
    unknown_tokens = serializers.IntegerField(
        help_text="Tokens of which nobody knows the cost: with any, the cost is at least `cost_usd`."
    )
    entries = serializers.IntegerField()


class SummarySerializer(serializers.Serializer[Any]):
    group_by = serializers.ChoiceField(choices=[BY_DAY, *GROUPS])
    total = SumsSerializer()
    results = SumsSerializer(many=True)


@extend_schema_view(list=extend_schema(summary="List the usage ledger, newest first"))
@extend_schema(tags=["usage"])
class UsageViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[UsageEntry]):
    """Tokens and cost, entry by entry; entries add up."""

    serializer_class = UsageEntrySerializer
    permission_classes = [ActPermissions]
    filterset_class = UsageFilter
    queryset = UsageEntry.objects.order_by("-pk")

    @extend_schema(
        operation_id="usage_summary",
        summary="Sum the ledger up",
        parameters=[
            OpenApiParameter("group_by", enum=[BY_DAY, *GROUPS], default=BY_DAY),
            OpenApiParameter("time_zone", default="UTC", description="Whose days are meant: an IANA name."),
        ],
        responses=SummarySerializer,
    )
    @action(detail=False, methods=["get"], pagination_class=None)
    def summary(self, request: Request) -> Response:
        """The filters of the ledger narrow it: `after`, `before`, `project`, `model`, `runner`, `session`, `source`."""
        asked = SummaryQuerySerializer(data=request.query_params)
        asked.is_valid(raise_exception=True)
        group_by, time_zone = asked.validated_data["group_by"], asked.validated_data["time_zone"]
        entries: Any = self.filter_queryset(UsageEntry.objects.all())
        rows = summarize(group_by, entries, time_zone=time_zone)
        return Response(SummarySerializer({"group_by": group_by, "total": total_of(entries), "results": rows}).data)
