"""Import and export of the original's files."""

import tempfile
import zipfile
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import FileResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from agents.exceptions import InvalidImport
from agents.jsonl.lines import FILES
from agents.services.transfer import export_files, import_files
from runners.actors import actor_of
from runners.api.permissions import ActPermissions
from runners.api.strict import StrictSerializer
from runners.zones import zone_names

#: The form's fields for the files, by their names without directory: jobs.jsonl.
FIELDS = {name.rsplit("/", 1)[1].replace(".", "_"): name for name in FILES}


class ImportSerializer(StrictSerializer):
    """The original's files, at least one, and how to read them."""

    active_agents_jsonl = serializers.FileField(required=False)
    agent_todos_jsonl = serializers.FileField(required=False)
    agent_personalities_json = serializers.FileField(required=False)
    jobs_jsonl = serializers.FileField(required=False)
    time_sessions_jsonl = serializers.FileField(required=False)
    zone = serializers.ChoiceField(
        choices=sorted(zone_names()), default=settings.TIME_ZONE, help_text="Of times without one."
    )
    dry_run = serializers.BooleanField(default=False, help_text="Only say what would be done.")


class ComplaintSerializer(serializers.Serializer[Any]):
    file = serializers.CharField()
    line = serializers.IntegerField()
    reason = serializers.CharField()


class ImportReportSerializer(serializers.Serializer[Any]):
    """What was done, by file; of the complaints the first thousand."""

    dry_run = serializers.BooleanField()
    new = serializers.DictField(child=serializers.IntegerField())
    updated = serializers.DictField(child=serializers.IntegerField())
    complaint_count = serializers.IntegerField(source="complaints.count")
    complaints = ComplaintSerializer(source="complaints.first", many=True)


@extend_schema(tags=["workforce"])
class WorkforceViewSet(viewsets.ViewSet):
    """Agents, personalities, jobs, todos and hours, as the original's files."""

    permission_classes = [ActPermissions]
    act_permissions = {"take_in": "agents.add_job"}

    @extend_schema(
        summary="Take in the original's files",
        description="The same ids are updated, so it may be repeated. A malformed line is reported and passed over.",
        request={"multipart/form-data": ImportSerializer},
        responses=ImportReportSerializer,
    )
    @action(detail=False, methods=["post"], url_path="import", parser_classes=[MultiPartParser])
    def take_in(self, request: Request) -> Response:
        serializer = ImportSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        files = {FIELDS[field]: partial(file.open, "rb") for field, file in data.items() if field in FIELDS}
        report = import_files(files, zone=ZoneInfo(data["zone"]), actor=actor_of(request), dry_run=data["dry_run"])
        return Response(ImportReportSerializer(report).data)

    @extend_schema(
        summary="Download everything as the original's files",
        parameters=[OpenApiParameter("zone", str, description="Of the times; by default this site's.")],
        responses={(200, "application/zip"): OpenApiTypes.BINARY},
    )
    @action(detail=False, url_path="export")
    def give_out(self, request: Request) -> FileResponse:
        zone = request.query_params.get("zone", settings.TIME_ZONE)
        if zone not in zone_names():
            raise InvalidImport(f"There is no time zone {zone!r}: write it as Europe/Berlin.", field="zone")
        # On disk: a hundred thousand lines need not fit in the memory.
        archive = tempfile.TemporaryFile()  # noqa: SIM115 - the response closes it
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as files:
            for name, write in export_files(ZoneInfo(zone)).items():
                with files.open(name, "w") as file:
                    for text in write():
                        file.write(text.encode())
        archive.seek(0)
        return FileResponse(archive, as_attachment=True, filename="workforce.zip")
