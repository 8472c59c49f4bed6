"""Runners: launch, look, steer."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from runners.actors import actor_of
from runners.api.batch_launch import BatchLaunchedSerializer, BatchLaunchSerializer, launch_batch, shown
from runners.api.filters import RunnerFilter
from runners.api.launch_serializers import LaunchSerializer
from runners.api.permissions import ActPermissions
from runners.api.runner_serializers import (
    AttemptSerializer,
    QueuePlaceSerializer,
    RunnerMoveSerializer,
    RunnerSerializer,
    StopSerializer,
)
from runners.api.transcripts import ATTEMPT, FILE, KIND, TranscriptSerializer, attempt_of, file_response, kind_of
from runners.api.usage_figures import usage_of_runners
from runners.api.worktree_serializers import EndWorktreeSerializer, WorktreeSerializer
from runners.models import Attempt, Runner, RunnerMove, Transcript, Worktree
from runners.services import pause_runner, restart_runner, resume_runner, stop_runner
from runners.services.joint_launch import launch_beside_others
from runners.services.provider_limits import start_anyway
from runners.services.queue import queue_position
from runners.services.worktrees import end_worktree
from runners.states import WorktreeEnd

CHANGE = "runners.change_runner"
#: Made once: its fields take 0.8 ms to make, a tenth of what the request costs.
_LAUNCHED = RunnerSerializer()


@extend_schema_view(retrieve=extend_schema(summary="Show a runner"))
@extend_schema(tags=["runners"])
class RunnerViewSet(viewsets.GenericViewSet[Runner]):
    """Supervised processes of agent programs."""

    serializer_class = RunnerSerializer
    permission_classes = [ActPermissions]
    filterset_class = RunnerFilter
    lookup_value_converter = "uuid"
    act_permissions = {
        "create": "runners.add_runner",
        "batch": "runners.add_runner",
        "stop": CHANGE,
        "pause": CHANGE,
        "resume": CHANGE,
        "restart": CHANGE,
        "start_anyway": CHANGE,
        "worktree": CHANGE,
    }

    def get_queryset(self) -> QuerySet[Runner]:
        # The id settles ties, so that a page never repeats or skips a row.
        return Runner.objects.select_related("project", "node", "observation", "requested_by").order_by(
            "-created_at", "-pk"
        )

    @extend_schema(summary="List runners, newest first", responses=RunnerSerializer(many=True))
    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self._shown(page or []))

    def retrieve(self, request: Request, pk: UUID) -> Response:
        return Response(self._shown([self.get_object()])[0])

    @extend_schema(
        summary="Launch a runner",
        request=LaunchSerializer,
        responses={201: OpenApiResponse(RunnerSerializer, "It is `starting`; `Location` is its address.")},
    )
    def create(self, request: Request) -> Response:
        """Checks everything first, then writes runner, event and start task together: a refusal leaves nothing."""
        form = LaunchSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        runner = launch_beside_others(
            form.validated_data["project"], form.launch_request(), actor=actor_of(request), user=request.user
        )
        return Response(
            # As it was written: nothing of it needs to be asked again, and it has used nothing yet.
            _LAUNCHED.to_representation(runner),
            status=status.HTTP_201_CREATED,
            headers={"Location": self.reverse_action("detail", args=[runner.pk])},
        )

    @extend_schema(
        operation_id="runners_launch_batch",
        summary="Launch many runners",
        request=BatchLaunchSerializer,
        responses={200: BatchLaunchedSerializer},
    )
    @action(detail=False, methods=["post"], url_path="batch")
    def batch(self, request: Request) -> Response:
        """Those of one project in one transaction. Each is launched or refused by itself, by the rules of a launch.

        The answer is 200 also where all were refused: look at `refused`.
        """
        form = BatchLaunchSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        results = launch_batch(form.requests(), actor=actor_of(request), user=request.user)
        return Response(shown(results, self.get_serializer_context()))

    @extend_schema(
        operation_id="runners_stop", summary="Stop a runner", request=StopSerializer, responses={202: RunnerSerializer}
    )
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, pk: UUID) -> Response:
        """SIGINT, later SIGTERM, and SIGKILL to its whole process group after the grace period.

        It may be repeated: a shorter grace hurries it, and a runner that has ended stays as it is.
        """
        form = StopSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        return self._asked(stop_runner(self.get_object().pk, actor=actor_of(request), **form.validated_data))

    @extend_schema(
        operation_id="runners_pause", summary="Pause a running runner", request=None, responses={202: RunnerSerializer}
    )
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: UUID) -> Response:
        """Its processes are suspended; it is `paused` once its node reports so."""
        return self._asked(pause_runner(self.get_object().pk, actor=actor_of(request)))

    @extend_schema(
        operation_id="runners_resume", summary="Resume a paused runner", request=None, responses={202: RunnerSerializer}
    )
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: UUID) -> Response:
        """It is `running` once its node reports so."""
        return self._asked(resume_runner(self.get_object().pk, actor=actor_of(request)))

    @extend_schema(
        operation_id="runners_restart",
        summary="Start an ended runner again",
        request=None,
        responses={202: RunnerSerializer},
    )
    @action(detail=True, methods=["post"])
    def restart(self, request: Request, pk: UUID) -> Response:
        """A new attempt of the same runner: its generation is one higher. It needs a place, as a launch does."""
        return self._asked(restart_runner(self.get_object().pk, actor=actor_of(request)))

    @extend_schema(
        summary="Start a runner that waits for its provider", request=None, responses={202: RunnerSerializer}
    )
    @action(detail=True, methods=["post"], filterset_class=None, pagination_class=None)
    def start_anyway(self, request: Request, pk: UUID) -> Response:
        """It waits no longer for the limit's end, only for a place. To end its wait without a start, stop it."""
        return self._asked(start_anyway(self.get_object().pk, actor=actor_of(request)))

    @extend_schema(summary="Show a runner's attempts, oldest first", responses=AttemptSerializer(many=True))
    @action(detail=True, methods=["get"], filterset_class=None)
    def attempts(self, request: Request, pk: UUID) -> Response:
        attempts: Any = Attempt.objects.filter(runner=self.get_object()).select_related("node").order_by("generation")
        return self.get_paginated_response(AttemptSerializer(self.paginate_queryset(attempts), many=True).data)

    @extend_schema(summary="Show where a queued runner stands", responses=QueuePlaceSerializer)
    @action(detail=True, methods=["get"], filterset_class=None, pagination_class=None)
    def queue(self, request: Request, pk: UUID) -> Response:
        return Response(QueuePlaceSerializer({"position": queue_position(self.get_object().pk)}).data)

    @extend_schema(summary="Show what a runner changed in its worktree", responses=WorktreeSerializer)
    @action(detail=True, methods=["get"], filterset_class=None, pagination_class=None)
    def changes(self, request: Request, pk: UUID) -> Response:
        """404 for a runner without a worktree of its own."""
        worktree = get_object_or_404(Worktree.objects.select_related("node"), runner=self.get_object())
        return Response(WorktreeSerializer(worktree).data)

    @extend_schema(
        operation_id="runners_worktree_end",
        summary="Merge or remove an ended runner's worktree",
        request=EndWorktreeSerializer,
        responses={202: WorktreeSerializer},
    )
    @action(detail=True, methods=["post"], pagination_class=None)
    def worktree(self, request: Request, pk: UUID) -> Response:
        """Its node does it soon: `wanted` is empty then, and `note` says why it was not merged, if it was not."""
        form = EndWorktreeSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        how = WorktreeEnd(form.validated_data["how"])
        worktree = end_worktree(self.get_object().pk, how, actor=actor_of(request))
        return Response(WorktreeSerializer(worktree).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(
        summary="List what is recorded of a runner's attempts, oldest first", responses=TranscriptSerializer(many=True)
    )
    @action(detail=True, methods=["get"], filterset_class=None)
    def transcripts(self, request: Request, pk: UUID) -> Response:
        found: Any = Transcript.objects.filter(runner=self.get_object()).order_by("generation", "kind")
        return self.get_paginated_response(TranscriptSerializer(self.paginate_queryset(found), many=True).data)

    @extend_schema(
        operation_id="runners_transcript",
        summary="Download the recording of an attempt",
        parameters=[KIND, ATTEMPT],
        responses=FILE,
    )
    @action(detail=True, methods=["get"], filterset_class=None, pagination_class=None)
    def transcript(self, request: Request, pk: UUID) -> HttpResponseBase:
        """As asciicast v2, or as JSON lines. Of a runner that runs: what is in storage now."""
        runner, attempt = self.get_object(), attempt_of(request)
        found = Transcript.objects.filter(runner=runner, kind=kind_of(request))
        if attempt is not None:
            found = found.filter(generation=attempt)
        return file_response(list(found.order_by("-generation")[:1]), runner.name)

    @extend_schema(summary="Show a runner's history, oldest first", responses=RunnerMoveSerializer(many=True))
    @action(detail=True, methods=["get"], filterset_class=None)
    def moves(self, request: Request, pk: UUID) -> Response:
        moves: Any = RunnerMove.objects.filter(runner=self.get_object()).order_by("pk")
        return self.get_paginated_response(RunnerMoveSerializer(self.paginate_queryset(moves), many=True).data)

    def _asked(self, runner: Runner) -> Response:
        return Response(self._loaded(runner), status=status.HTTP_202_ACCEPTED)

    def _loaded(self, runner: Runner) -> Any:
        return self._shown([self.get_queryset().get(pk=runner.pk)])[0]

    def _shown(self, runners: Sequence[Runner]) -> Any:
        context = {**self.get_serializer_context(), "usage": usage_of_runners([runner.pk for runner in runners])}
        return RunnerSerializer(runners, many=True, context=context).data
