"""What all of the API shares: pages, and how a refusal is answered."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions
from rest_framework.pagination import PageNumberPagination
from rest_framework.response import Response
from rest_framework.views import exception_handler

from stratavore_site.problems import HTTP_PROBLEMS, OTHER, VALIDATION, Problem, problem_of

PROBLEM_JSON = "application/problem+json"


class PagePagination(PageNumberPagination):
    """`page` and `page_size`; the answer holds `count`, `next`, `previous` and `results`."""

    page_size_query_param = "page_size"
    max_page_size = 500


def problem_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer a refused request with application/problem+json; None leaves a fault of ours to Django."""
    problem = problem_of(error)
    if problem:
        return _answer(problem.document(str(error), **_facts(error)))
    # DRF's own handler knows the headers (WWW-Authenticate, Retry-After) and rolls the transaction back.
    response = exception_handler(error, context)
    if response is None:
        return None
    document = _http_document(error, response.status_code)
    return _answer(
        document,
        headers={name: response[name] for name in ("WWW-Authenticate", "Retry-After", "Allow") if name in response},
    )


def _facts(error: Exception) -> dict[str, Any]:
    """Return the extension members: what the error knows, and the culprit in the form that field errors have."""
    facts = dict(getattr(error, "facts", {}))
    # `status` of a problem document is HTTP's; the state of the thing refused goes by another name.
    if "status" in facts:
        facts["state"] = str(facts.pop("status"))
    if "field" in facts:
        facts["errors"] = {facts["field"]: [str(error)]}
    return facts


def _http_document(error: Exception, status_code: int) -> dict[str, Any]:
    if isinstance(error, exceptions.ValidationError):
        return VALIDATION.document("Some fields are not valid.", errors=_field_errors(error.detail))
    problem = HTTP_PROBLEMS.get(status_code) or Problem(OTHER.code, status_code, OTHER.title, OTHER.remedy)
    return problem.document(_detail(error))


def _field_errors(detail: Any) -> dict[str, Any]:
    """Return the errors by field; those of no field are under `non_field_errors`."""
    return dict(detail) if isinstance(detail, dict) else {"non_field_errors": detail}


def _detail(error: Exception) -> str:
    if isinstance(error, exceptions.APIException):
        return str(error.detail)
    if isinstance(error, Http404):
        return str(error) or "There is nothing at this address."
    return str(error) or ("You may not do that." if isinstance(error, PermissionDenied) else "Refused.")


def _answer(document: dict[str, Any], *, headers: Mapping[str, str] | None = None) -> Response:
    return Response(document, status=document["status"], headers=dict(headers or {}), content_type=PROBLEM_JSON)
