"""Launch many runners with one request."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from rest_framework import serializers

from runners.api.launch_serializers import LaunchSerializer, launch_request
from runners.api.runner_serializers import RunnerSerializer
from runners.api.strict import StrictSerializer
from runners.backends.base import LaunchRequest
from runners.exceptions import RunnerError
from runners.models import Runner
from runners.services.launch import MOST_AT_ONCE, launch_runners


class RepeatedLaunchSerializer(LaunchSerializer):
    """A launch, and how many runners it is for."""

    count = serializers.IntegerField(
        default=1, min_value=1, max_value=MOST_AT_ONCE, help_text="So many of these; a name gets -1, -2 and so on."
    )


class BatchLaunchSerializer(StrictSerializer):
    launches = serializers.ListField(
        child=RepeatedLaunchSerializer(),
        min_length=1,
        max_length=MOST_AT_ONCE,
        help_text=f"In the order in which they get the places there are; {MOST_AT_ONCE} runners in all.",
    )

    def validate_launches(self, launches: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if sum(launch["count"] for launch in launches) > MOST_AT_ONCE:
            raise serializers.ValidationError(f"These are more than {MOST_AT_ONCE} runners.")
        return launches

    def requests(self) -> list[tuple[str, LaunchRequest]]:
        """Return each runner's project and request, in order."""
        return [
            (launch["project"], request) for launch in self.validated_data["launches"] for request in _repeated(launch)
        ]


class RefusalSerializer(serializers.Serializer[Any]):
    """Why a runner was not launched, in the words of the problem that it would be by itself."""

    code = serializers.CharField()
    detail = serializers.CharField()
    field = serializers.CharField(allow_null=True)


class BatchResultSerializer(serializers.Serializer[Any]):
    """What became of one runner: one of the two is null."""

    runner = RunnerSerializer(allow_null=True)
    refusal = RefusalSerializer(allow_null=True)


class BatchLaunchedSerializer(serializers.Serializer[Any]):
    launched = serializers.IntegerField()
    refused = serializers.IntegerField()
    results = BatchResultSerializer(many=True, help_text="In the order of the request, each as often as its count.")


def launch_batch(
    wanted: list[tuple[str, LaunchRequest]], *, actor: str, user: User | AnonymousUser
) -> list[Runner | Exception]:
    """Launch the runners of each project in a transaction of its own; return what became of each, in order."""
    by_project: dict[str, list[int]] = {}
    for place, (project, _) in enumerate(wanted):
        by_project.setdefault(project, []).append(place)
    found: dict[int, Runner | Exception] = {}
    for project, places in by_project.items():
        try:
            came = launch_runners(project, [wanted[place][1] for place in places], actor=actor, user=user)
        except RunnerError as refusal:
            found |= dict.fromkeys(places, refusal)
            continue
        for place, own in enumerate(places):
            found[own] = came.result(place)
    return [found[place] for place in range(len(wanted))]


def shown(results: list[Runner | Exception], context: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer."""
    launched = [result for result in results if isinstance(result, Runner)]
    return {
        "launched": len(launched),
        "refused": len(results) - len(launched),
        "results": [_result(result, context) for result in results],
    }


def _result(result: Runner | Exception, context: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(result, Runner):
        return {"runner": RunnerSerializer(result, context=dict(context)).data, "refusal": None}
    assert isinstance(result, RunnerError)  # noqa: S101 - launches raise no other
    refusal = {"code": result.code, "detail": result.message, "field": result.facts.get("field")}
    return {"runner": None, "refusal": refusal}


def _repeated(launch: Mapping[str, Any]) -> Iterator[LaunchRequest]:
    request = launch_request({name: value for name, value in launch.items() if name != "count"})
    for number in range(1, launch["count"] + 1):
        # A name has 80 characters at most: the number must not be what is cut.
        own = f"{request.name[:75]}-{number}" if request.name and launch["count"] > 1 else request.name
        yield replace(request, name=own)
