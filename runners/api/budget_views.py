"""Budgets: see, make, change, raise."""

from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from runners.actors import actor_of
from runners.api.budget_serializers import (
    BudgetChangeSerializer,
    BudgetDetailSerializer,
    BudgetSerializer,
    MadeRaiseSerializer,
    NewBudgetSerializer,
    RaiseSerializer,
)
from runners.api.permissions import ActPermissions
from runners.models import Budget
from runners.services.budgets import change_budget, create_budget, delete_budget, raise_budget
from runners.services.standing import standing_of, standings
from runners.states import BudgetScope


class BudgetFilter(filters.FilterSet):  # type: ignore[misc]  # django-filter has no types
    scope = filters.ChoiceFilter(choices=BudgetScope.choices)
    scope_key = filters.CharFilter()
    active = filters.BooleanFilter()

    class Meta:
        model = Budget
        fields: list[str] = []


@extend_schema(tags=["usage"])
class BudgetViewSet(viewsets.GenericViewSet[Budget]):
    """Limits on what may be used in each period."""

    serializer_class = BudgetSerializer
    permission_classes = [ActPermissions]
    filterset_class = BudgetFilter
    lookup_value_converter = "int"
    act_permissions = {
        "create": "runners.add_budget",
        "partial_update": "runners.change_budget",
        "destroy": "runners.delete_budget",
        "raise_for_a_while": "runners.raise_budget",
    }

    def get_queryset(self) -> QuerySet[Budget]:
        return Budget.objects.order_by("name")

    @extend_schema(summary="List budgets", responses=BudgetSerializer(many=True))
    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        found = standings(Budget.objects.filter(pk__in=[budget.pk for budget in page]).order_by("name"))
        return self.get_paginated_response(BudgetSerializer(found, many=True).data)

    @extend_schema(summary="Show a budget, with its forecast", responses=BudgetDetailSerializer)
    def retrieve(self, request: Request, pk: int) -> Response:
        return Response(self._shown(self.get_object()))

    @extend_schema(summary="Make a budget", request=NewBudgetSerializer, responses={201: BudgetDetailSerializer})
    def create(self, request: Request) -> Response:
        """What its scope used in the present period counts."""
        form = NewBudgetSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        budget = create_budget(form.validated_data, actor=actor_of(request))
        return Response(self._shown(budget), status=status.HTTP_201_CREATED)

    @extend_schema(summary="Change a budget", request=BudgetChangeSerializer, responses=BudgetDetailSerializer)
    def partial_update(self, request: Request, pk: int) -> Response:
        """What it counts stays: scope, period, time zone and unit."""
        form = BudgetChangeSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        return Response(self._shown(change_budget(self.get_object(), form.validated_data, actor=actor_of(request))))

    @extend_schema(summary="Delete a budget", responses={204: None})
    def destroy(self, request: Request, pk: int) -> Response:
        """With what it counted. Whom it held goes on."""
        delete_budget(self.get_object(), actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        operation_id="budgets_raise",
        summary="Raise a budget for a while",
        request=RaiseSerializer,
        responses={201: BudgetDetailSerializer},
    )
    @action(detail=True, methods=["post"], url_path="raise", filterset_class=None)
    def raise_for_a_while(self, request: Request, pk: int) -> Response:
        """Whom it paused goes on within a second."""
        form = RaiseSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        budget = self.get_object()
        raise_budget(budget, **form.validated_data, actor=actor_of(request))
        return Response(self._shown(budget), status=status.HTTP_201_CREATED)

    @extend_schema(summary="List a budget's raises, newest first", responses=MadeRaiseSerializer(many=True))
    @action(detail=True, methods=["get"], filterset_class=None)
    def raises(self, request: Request, pk: int) -> Response:
        raises: Any = self.get_object().raises.order_by("-made_at", "-pk")
        return self.get_paginated_response(MadeRaiseSerializer(self.paginate_queryset(raises), many=True).data)

    def _shown(self, budget: Budget) -> Any:
        return BudgetDetailSerializer(standing_of(budget)).data
