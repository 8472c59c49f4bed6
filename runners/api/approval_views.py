"""Approvals: what programs ask, and the answers; the rules that answer first."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from runners.actors import actor_of
from runners.api.approval_serializers import (
    ApprovalRuleChangeSerializer,
    ApprovalRuleSerializer,
    ApprovalSerializer,
    DecisionSerializer,
    NewApprovalRuleSerializer,
    TermsChangeSerializer,
    TermsSerializer,
    TrialAnswerSerializer,
    TrialSerializer,
)
from runners.api.permissions import ActPermissions
from runners.models import Approval, ApprovalRule, ApprovalTerms, Project
from runners.services.approvals import Decision, decide_approval
from runners.services.approvals.policy import try_rules
from runners.services.approvals.rules import delete_rule, save_rule, set_terms
from runners.states import AnswerScope, ApprovalState, RuleEffect, RuleScope


class ApprovalFilter(filters.FilterSet):  # type: ignore[misc]  # django-filter has no types
    state = filters.MultipleChoiceFilter(choices=ApprovalState.choices, label="Repeat it for several.")
    runner = filters.UUIDFilter(field_name="runner_id")
    session = filters.UUIDFilter(field_name="session_id")
    project = filters.CharFilter(field_name="runner__project__name", label="Name of the project.")
    agent = filters.CharFilter(field_name="runner__agent_name", label="Name of the agent.")
    tool = filters.CharFilter(field_name="tool_name")
    asked_after = filters.IsoDateTimeFilter(field_name="asked_at", lookup_expr="gte", label="At that time or later.")

    class Meta:
        model = Approval
        fields: list[str] = []


@extend_schema(tags=["approvals"])
class ApprovalViewSet(viewsets.GenericViewSet[Approval]):
    """What programs ask before they act."""

    serializer_class = ApprovalSerializer
    permission_classes = [ActPermissions]
    filterset_class = ApprovalFilter
    lookup_value_converter = "uuid"
    act_permissions = {"decide": "runners.decide_approval"}

    def get_queryset(self) -> QuerySet[Approval]:
        return Approval.objects.select_related("runner__project", "runner__worktree").order_by("-asked_at", "-pk")

    @extend_schema(summary="List what was asked, newest first", responses=ApprovalSerializer(many=True))
    def list(self, request: Request) -> Response:
        page: Any = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(ApprovalSerializer(page, many=True).data)

    @extend_schema(summary="Show one question", responses=ApprovalSerializer)
    def retrieve(self, request: Request, pk: UUID) -> Response:
        return Response(ApprovalSerializer(self.get_object()).data)

    @extend_schema(
        summary="Answer a question",
        request=DecisionSerializer,
        responses={
            200: ApprovalSerializer,
            409: OpenApiResponse(description="Somebody was faster, or it is not asked any more."),
        },
    )
    @action(detail=True, methods=["post"], filterset_class=None, pagination_class=None)
    def decide(self, request: Request, pk: UUID) -> Response:
        """It is answered once: whoever is second gets 409 with `decided_by`. Repeating one's own answer is harmless."""
        form = DecisionSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        typed = form.validated_data
        decision = Decision(
            allow=typed["decision"] == RuleEffect.ALLOW,
            message=typed.get("message", ""),
            for_session=typed["scope"] == AnswerScope.SESSION,
            pattern=typed.get("pattern"),
        )
        decide_approval(self.get_object().pk, decision, actor=actor_of(request))
        return Response(ApprovalSerializer(self.get_object()).data)


class RuleFilter(filters.FilterSet):  # type: ignore[misc]
    scope = filters.ChoiceFilter(choices=RuleScope.choices)
    scope_key = filters.CharFilter()
    effect = filters.ChoiceFilter(choices=RuleEffect.choices)
    active = filters.BooleanFilter()

    class Meta:
        model = ApprovalRule
        fields: list[str] = []


@extend_schema(tags=["approvals"])
class ApprovalRuleViewSet(viewsets.GenericViewSet[ApprovalRule]):
    """Rules answer what programs ask before people do; of those that fit the lowest position answers."""

    serializer_class = ApprovalRuleSerializer
    permission_classes = [ActPermissions]
    filterset_class = RuleFilter
    lookup_value_converter = "int"
    act_permissions = {
        "create": "runners.add_approvalrule",
        "partial_update": "runners.change_approvalrule",
        "destroy": "runners.delete_approvalrule",
        # It changes nothing, and tells no more than the list.
        "test": "runners.decide_approval",
    }

    def get_queryset(self) -> QuerySet[ApprovalRule]:
        return ApprovalRule.objects.order_by("position", "pk")

    @extend_schema(summary="List rules, in their order", responses=ApprovalRuleSerializer(many=True))
    def list(self, request: Request) -> Response:
        page: Any = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(ApprovalRuleSerializer(page, many=True).data)

    @extend_schema(summary="Show a rule", responses=ApprovalRuleSerializer)
    def retrieve(self, request: Request, pk: int) -> Response:
        return Response(ApprovalRuleSerializer(self.get_object()).data)

    @extend_schema(summary="Make a rule", request=NewApprovalRuleSerializer, responses={201: ApprovalRuleSerializer})
    def create(self, request: Request) -> Response:
        form = NewApprovalRuleSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        rule = save_rule(ApprovalRule(), form.validated_data, actor=actor_of(request))
        return Response(ApprovalRuleSerializer(rule).data, status=status.HTTP_201_CREATED)

    @extend_schema(summary="Change a rule", request=ApprovalRuleChangeSerializer, responses=ApprovalRuleSerializer)
    def partial_update(self, request: Request, pk: int) -> Response:
        form = ApprovalRuleChangeSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        rule = save_rule(self.get_object(), form.validated_data, actor=actor_of(request))
        return Response(ApprovalRuleSerializer(rule).data)

    @extend_schema(summary="Delete a rule", responses={204: None})
    def destroy(self, request: Request, pk: int) -> Response:
        delete_rule(self.get_object(), actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        summary="Try the rules on a question", request=TrialSerializer, responses={200: TrialAnswerSerializer}
    )
    @action(detail=False, methods=["post"], filterset_class=None, pagination_class=None)
    def test(self, request: Request) -> Response:
        """What would they say to it? Nothing is changed, and nobody is asked."""
        form = TrialSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        typed = form.validated_data
        trial = try_rules(
            typed.pop("tool"), typed.pop("input", {}), **{**typed, "session": typed.pop("session_id", "")}
        )
        return Response(TrialAnswerSerializer(trial).data)


@extend_schema(tags=["approvals"])
class ApprovalTermsViewSet(viewsets.GenericViewSet[ApprovalTerms]):
    """How long a project's questions wait, and what is said then; without terms, an hour."""

    serializer_class = TermsSerializer
    permission_classes = [ActPermissions]
    lookup_field = "project"
    lookup_url_kwarg = "project"
    lookup_value_converter = "slug"
    act_permissions = {"partial_update": "runners.change_approvalterms"}

    def get_queryset(self) -> QuerySet[ApprovalTerms]:
        return ApprovalTerms.objects.select_related("project").order_by("project__name")

    @extend_schema(summary="List the terms that projects have", responses=TermsSerializer(many=True))
    def list(self, request: Request) -> Response:
        page: Any = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(TermsSerializer(page, many=True).data)

    @extend_schema(summary="Show a project's terms", responses=TermsSerializer)
    def retrieve(self, request: Request, project: str) -> Response:
        found = get_object_or_404(Project, name=project)
        terms = ApprovalTerms.objects.filter(project=found).first() or ApprovalTerms(project=found)
        return Response(TermsSerializer(terms).data)

    @extend_schema(summary="Set a project's terms", request=TermsChangeSerializer, responses=TermsSerializer)
    def partial_update(self, request: Request, project: str) -> Response:
        form = TermsChangeSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        found = get_object_or_404(Project, name=project)
        return Response(TermsSerializer(set_terms(found, form.validated_data, actor=actor_of(request))).data)
