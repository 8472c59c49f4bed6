"""The price table over the API."""

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from runners.actors import actor_of
from runners.api.permissions import ActPermissions
from runners.api.strict import StrictSerializer
from runners.models import ModelPrice
from runners.models.price import PriceField
from runners.services.prices import delete_price, save_price


class PriceSerializer(serializers.ModelSerializer[ModelPrice]):
    """US dollars for a million tokens of a model, from one moment to another."""

    serializer_field_mapping = {
        **serializers.ModelSerializer.serializer_field_mapping,
        PriceField: serializers.DecimalField,
    }

    class Meta:
        model = ModelPrice
        fields = [
            "id",
            "provider",
            "pattern",
            "input_usd",
            "output_usd",
            "cache_read_usd",
            "cache_write_usd",
            "valid_from",
            "valid_to",
            "note",
            "created_at",
        ]


def _dollars(**options: Any) -> serializers.DecimalField:
    return serializers.DecimalField(max_digits=14, decimal_places=6, min_value=0, **options)


class PriceChangeSerializer(StrictSerializer):
    """What of a price may be changed; once usage was priced by it, only `valid_to` and `note`."""

    provider = serializers.SlugField(max_length=40, required=False, allow_blank=True)
    pattern = serializers.CharField(max_length=100, required=False)
    input_usd = _dollars(required=False, help_text="Per million tokens, as all of them.")
    output_usd = _dollars(required=False)
    cache_read_usd = _dollars(required=False, allow_null=True, help_text="null: not known; such usage stays unknown.")
    cache_write_usd = _dollars(required=False, allow_null=True, help_text="null: not known; such usage stays unknown.")
    valid_from = serializers.DateTimeField(required=False)
    valid_to = serializers.DateTimeField(required=False, allow_null=True)
    note = serializers.CharField(max_length=200, required=False, allow_blank=True)


class NewPriceSerializer(PriceChangeSerializer):
    pattern = serializers.CharField(max_length=100, help_text="A model's name; * and ? stand for other characters.")
    input_usd = _dollars(help_text="Per million tokens, as all of them.")
    output_usd = _dollars()
    valid_from = serializers.DateTimeField()


@extend_schema_view(list=extend_schema(summary="List prices"), retrieve=extend_schema(summary="Show a price"))
@extend_schema(tags=["usage"])
class PriceViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[ModelPrice]):
    """What models cost. Usage whose program tells no cost is priced by it."""

    serializer_class = PriceSerializer
    permission_classes = [ActPermissions]
    queryset = ModelPrice.objects.order_by("provider", "pattern", "-valid_from", "pk")
    lookup_value_converter = "int"
    act_permissions = {
        "create": "runners.add_modelprice",
        "partial_update": "runners.change_modelprice",
        "destroy": "runners.delete_modelprice",
    }

    @extend_schema(summary="Add a price", request=NewPriceSerializer, responses={201: PriceSerializer})
    def create(self, request: Request) -> Response:
        """Usage of unknown cost that it fits is priced by it soon."""
        form = NewPriceSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        return Response(self._saved(request, ModelPrice(), form.validated_data), status=status.HTTP_201_CREATED)

    @extend_schema(summary="Change a price", request=PriceChangeSerializer, responses=PriceSerializer)
    def partial_update(self, request: Request, pk: int) -> Response:
        """Of one that usage was priced by, only the end and the note: a new price is a new row."""
        form = PriceChangeSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        return Response(self._saved(request, self.get_object(), form.validated_data))

    @extend_schema(summary="Delete a price", responses={204: None})
    def destroy(self, request: Request, pk: int) -> Response:
        """Refused once usage was priced by it."""
        delete_price(self.get_object(), actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _saved(self, request: Request, price: ModelPrice, changes: dict[str, Any]) -> Any:
        return self.get_serializer(save_price(price, changes, actor=actor_of(request))).data
