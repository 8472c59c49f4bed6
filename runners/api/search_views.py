"""Search over everything that was said."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from runners.api.pagination import SearchPagination
from runners.api.permissions import ActPermissions
from runners.models import Session
from runners.services.search import QUERY_CHARACTERS, Filters, SessionHits, search
from runners.states import Role, SearchMode


class SearchQuerySerializer(serializers.Serializer[Any]):
    """What is searched for, and what the search is narrowed to."""

    q = serializers.CharField(
        max_length=QUERY_CHARACTERS,
        help_text='Words, "a phrase", -without, this OR that. By words, every one must stand in one passage; '
        "by meaning they may differ, but phrases and exclusions hold.",
    )
    project = serializers.CharField(required=False, help_text="Name of the project.")
    agent = serializers.CharField(required=False, help_text="Name of the agent.")
    backend = serializers.CharField(required=False)
    tool = serializers.CharField(required=False, help_text="Name of the tool, as the program tells it: Bash.")
    role = serializers.ChoiceField(choices=Role.choices, required=False)
    since = serializers.DateTimeField(required=False, help_text="Said at that time or later.")
    until = serializers.DateTimeField(required=False, help_text="Said before that time.")
    mode = serializers.ChoiceField(
        choices=SearchMode.choices,
        default=SearchMode.HYBRID,
        help_text="Words and meaning, or one of the two; the answer tells what it became.",
    )


class PartSerializer(serializers.Serializer[Any]):
    text = serializers.CharField(help_text="Plain text: escape it to show it.")
    match = serializers.BooleanField(help_text="It is what was searched for.")


class HitSerializer(serializers.Serializer[Any]):
    """A message in which something was found."""

    message_id = serializers.IntegerField()
    role = serializers.ChoiceField(choices=Role.choices)
    tool_name = serializers.CharField()
    at = serializers.DateTimeField()
    rank = serializers.FloatField(help_text="Greater is better; of use only within one answer.")
    by_words = serializers.BooleanField(help_text="Its words were found.")
    by_meaning = serializers.BooleanField(help_text="Its meaning is near.")
    excerpt = PartSerializer(many=True)


class SessionHitsSerializer(serializers.Serializer[SessionHits]):
    """A session in which something was found, with its best hits."""

    session_id = serializers.UUIDField()
    title = serializers.CharField(source="session.title")
    project = serializers.CharField(source="session.project.name")
    backend = serializers.CharField(source="session.backend")
    hit_count = serializers.IntegerField(help_text="Messages of it in which something was found.")
    hits = HitSerializer(many=True)


@extend_schema(tags=["sessions"])
class SearchViewSet(viewsets.GenericViewSet[Session]):
    """Finds sessions again by what was said in them."""

    serializer_class: Any = SessionHitsSerializer
    permission_classes = [ActPermissions]
    filterset_class = None
    pagination_class = SearchPagination
    filter_backends: list[Any] = []
    queryset = Session.objects.none()

    @extend_schema(
        summary="Search in all sessions, best first",
        parameters=[SearchQuerySerializer],
        responses=SessionHitsSerializer(many=True),
    )
    def list(self, request: Request) -> Response:
        """Passages that have the words and the hundred of the nearest meaning, fused by reciprocal rank.

        Of a query that matches very often only the newest 2,000 passages are ranked.
        """
        asked = SearchQuerySerializer(data=request.query_params)
        asked.is_valid(raise_exception=True)
        wanted = dict(asked.validated_data)
        found: Any = search(wanted.pop("q"), mode=SearchMode(wanted.pop("mode")), filters=Filters(**wanted))
        page: Any = self.paginate_queryset(found)
        return self.get_paginated_response(SessionHitsSerializer(page, many=True).data)
