"""The job board."""

from collections.abc import Callable, Sequence
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from agents.api.filters import AssignmentFilter, JobFilter
from agents.api.job_serializers import (
    AssignmentSerializer,
    AssignSerializer,
    CommentSerializer,
    DeliverableSerializer,
    DependenciesSerializer,
    DoneSerializer,
    JobChangeSerializer,
    JobDetailSerializer,
    JobMoveSerializer,
    JobSerializer,
    NewCommentSerializer,
    NewJobSerializer,
    NoteSerializer,
)
from agents.exceptions import InvalidJob
from agents.figures import figures_of_jobs
from agents.models import Agent, Assignment, Job
from agents.services import (
    add_dependencies,
    assign_job,
    assign_person,
    cancel_job,
    change_job,
    comment_on,
    complete_job,
    create_job,
    delete_job,
    drop_dependencies,
    fail_job,
    mark_deliverable,
    release_job,
    retry_job,
    set_deliverables,
)
from agents.services.jobs import person_named
from runners.actors import actor_of
from runners.api.permissions import ActPermissions

CHANGE = "agents.change_job"


def job_act(name: str, summary: str) -> Callable[..., Any]:
    """Return the decorators of an act on one job that takes a note."""

    def decorate(function: Callable[..., Any]) -> Any:
        described = extend_schema(
            operation_id=f"jobs_{name}", summary=summary, request=NoteSerializer, responses=JobDetailSerializer
        )
        return described(action(detail=True, methods=["post"])(function))

    return decorate


@extend_schema_view(retrieve=extend_schema(summary="Show a job", responses=JobDetailSerializer))
@extend_schema(tags=["jobs"])
class JobViewSet(viewsets.GenericViewSet[Job]):
    """Pieces of work, and what waits for what."""

    serializer_class = JobSerializer
    permission_classes = [ActPermissions]
    filterset_class = JobFilter
    lookup_value_converter = "slug"
    act_permissions = {
        "create": "agents.add_job",
        "destroy": "agents.delete_job",
        "assign": "agents.add_assignment",
        **dict.fromkeys(
            ("partial_update", "complete", "fail", "release", "cancel", "retry", "wait_for", "drop", "comment", "mark"),
            CHANGE,
        ),
    }

    def get_queryset(self) -> QuerySet[Job]:
        return (
            Job.objects.select_related("project", "wanted_agent", "wanted_person")
            .with_current()
            .order_by("-created_at", "-pk")
        )

    @extend_schema(summary="List jobs, newest first", responses=JobSerializer(many=True))
    def list(self, request: Request) -> Response:
        return self._page(self.get_queryset())

    @extend_schema(
        operation_id="jobs_ready",
        summary="List what can start now, most urgent first",
        responses=JobSerializer(many=True),
    )
    @action(detail=False, methods=["get"])
    def ready(self, request: Request) -> Response:
        return self._page(self.get_queryset().ready().by_urgency())  # type: ignore[attr-defined]

    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(self._shown([self.get_object()], JobDetailSerializer)[0])

    @extend_schema(summary="Create a job", request=NewJobSerializer, responses={201: JobDetailSerializer})
    def create(self, request: Request) -> Response:
        """It is `blocked` while what it depends on is not completed, else `pending`."""
        form = NewJobSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        job = create_job(actor=actor_of(request), **form.validated_data)
        return Response(self._loaded(job.pk), status=status.HTTP_201_CREATED)

    @extend_schema(summary="Change a job", request=JobChangeSerializer, responses=JobDetailSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        form = JobChangeSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        job, fields, actor = self.get_object(), dict(form.validated_data), actor_of(request)
        deliverables = fields.pop("deliverables", None)
        # One refused undoes both.
        with transaction.atomic():
            if fields:
                change_job(job.pk, actor=actor, **fields)
            if deliverables is not None:
                set_deliverables(job.pk, deliverables, actor=actor)
        return Response(self._loaded(job.pk))

    @extend_schema(summary="Delete a job that nobody worked on", responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """One that was worked on, or that others wait for, is cancelled instead."""
        delete_job(self.get_object().pk, actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        operation_id="jobs_assign",
        summary="Assign a job",
        request=AssignSerializer,
        responses={201: AssignmentSerializer},
    )
    @action(detail=True, methods=["post"])
    def assign(self, request: Request, pk: str) -> Response:
        """To an idle agent: its runner is launched with the rendered prompt. Or to a person: nothing is launched."""
        form = AssignSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        assignment = _assign(self.get_object(), request, **form.validated_data)
        return Response(AssignmentSerializer(assignment).data, status=status.HTTP_201_CREATED)

    @job_act("complete", "Call a job done")
    def complete(self, request: Request, pk: str) -> Response:
        """What waited for it alone comes free at once. A runner that is still at it is stopped."""
        return self._noted(complete_job, request)

    @job_act("fail", "Give up a job")
    def fail(self, request: Request, pk: str) -> Response:
        return self._noted(fail_job, request)

    @job_act("release", "Put a job back on the board")
    def release(self, request: Request, pk: str) -> Response:
        """A runner that is still at it is stopped."""
        return self._noted(release_job, request)

    @job_act("cancel", "Cancel a job")
    def cancel(self, request: Request, pk: str) -> Response:
        """What waits for it asks for a decision."""
        return self._noted(cancel_job, request)

    @extend_schema(
        operation_id="jobs_retry",
        summary="Let a failed job be tried again",
        request=None,
        responses=JobDetailSerializer,
    )
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Its failures so far no longer count."""
        job = retry_job(self.get_object().pk, actor=actor_of(request))
        return Response(self._loaded(job.pk))

    @extend_schema(
        operation_id="jobs_wait_for",
        summary="Let a job wait for others",
        request=DependenciesSerializer,
        responses=JobDetailSerializer,
    )
    @action(detail=True, methods=["post"], url_path="wait-for")
    def wait_for(self, request: Request, pk: str) -> Response:
        """A cycle is refused, and named in `cycle`."""
        return self._edges(add_dependencies, request)

    @extend_schema(
        operation_id="jobs_drop",
        summary="Let a job no longer wait for others",
        request=DependenciesSerializer,
        responses=JobDetailSerializer,
    )
    @action(detail=True, methods=["post"])
    def drop(self, request: Request, pk: str) -> Response:
        return self._edges(drop_dependencies, request)

    @extend_schema(
        operation_id="jobs_mark_deliverable",
        summary="Mark a deliverable as there, or not",
        request=DoneSerializer,
        responses=DeliverableSerializer,
    )
    @action(detail=True, methods=["post"], url_path="deliverables/<int:deliverable>")
    def mark(self, request: Request, pk: str, deliverable: int) -> Response:
        form = DoneSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        marked = mark_deliverable(self.get_object().pk, deliverable, actor=actor_of(request), **form.validated_data)
        return Response(DeliverableSerializer(marked).data)

    @extend_schema(summary="List what was said about a job, oldest first", responses=CommentSerializer(many=True))
    @action(detail=True, methods=["get"], filterset_class=None)
    def comments(self, request: Request, pk: str) -> Response:
        page: Any = self.paginate_queryset(self.get_object().comments.order_by("pk"))  # type: ignore[arg-type]
        return self.get_paginated_response(CommentSerializer(page, many=True).data)

    @extend_schema(
        operation_id="jobs_comment",
        summary="Say something about a job",
        request=NewCommentSerializer,
        responses={201: CommentSerializer},
    )
    @comments.mapping.post
    def comment(self, request: Request, pk: str) -> Response:
        form = NewCommentSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        comment = comment_on(self.get_object().pk, actor=actor_of(request), **form.validated_data)
        return Response(CommentSerializer(comment).data, status=status.HTTP_201_CREATED)

    @extend_schema(summary="Show a job's history, oldest first", responses=JobMoveSerializer(many=True))
    @action(detail=True, methods=["get"], filterset_class=None)
    def moves(self, request: Request, pk: str) -> Response:
        page: Any = self.paginate_queryset(self.get_object().moves.order_by("pk"))  # type: ignore[arg-type]
        return self.get_paginated_response(JobMoveSerializer(page, many=True).data)

    def _noted(self, verb: Callable[..., Job], request: Request) -> Response:
        form = NoteSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        return Response(self._loaded(verb(self.get_object().pk, actor=actor_of(request), **form.validated_data).pk))

    def _edges(self, verb: Callable[..., Job], request: Request) -> Response:
        form = DependenciesSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        job = verb(self.get_object().pk, form.validated_data["dependencies"], actor=actor_of(request))
        return Response(self._loaded(job.pk))

    def _page(self, jobs: QuerySet[Job]) -> Response:
        page = self.paginate_queryset(self.filter_queryset(jobs))
        return self.get_paginated_response(self._shown(page or [], JobSerializer))

    def _loaded(self, job_id: str) -> Any:
        return self._shown([self.get_queryset().get(pk=job_id)], JobDetailSerializer)[0]

    def _shown(self, jobs: Sequence[Job], kind: type[JobSerializer]) -> Any:
        context = {**self.get_serializer_context(), "figures": figures_of_jobs(jobs)}
        return kind(jobs, many=True, context=context).data


def _assign(
    job: Job, request: Request, *, on_limit: str, agent: str = "", person: str = "", approvals: str = ""
) -> Assignment:
    actor = actor_of(request)
    if person:
        return assign_person(job.pk, person_named(person), actor=actor)
    worker = Agent.objects.filter(name=agent).first()
    if worker is None:
        raise InvalidJob(f"There is no agent {agent!r}.", field="agent")
    return assign_job(job.pk, worker.pk, actor=actor, user=request.user, on_limit=on_limit, approvals=approvals)


@extend_schema_view(
    list=extend_schema(summary="List assignments, newest first"), retrieve=extend_schema(summary="Show an assignment")
)
@extend_schema(tags=["jobs"])
class AssignmentViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Assignment]):
    """Who works, or worked, on what, and how it ended."""

    serializer_class = AssignmentSerializer
    permission_classes = [ActPermissions]
    filterset_class = AssignmentFilter
    lookup_value_converter = "int"
    queryset = Assignment.objects.select_related("agent", "person", "personality_version__personality").order_by(
        "-started_at", "-pk"
    )
