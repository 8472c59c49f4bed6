"""What all of the API shares: signing in, problems, the size of a body, the schema."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.cache import cache
from django.core.management import call_command
from django.utils import timezone
from rest_framework.test import APIClient

from outbox.exceptions import BrokerUnavailable, OutsideTransaction
from outbox.models import Entry
from runners.exceptions import LaunchRefused, NodeUnreachable, RunnerError
from stratavore_site.models import AccessToken
from stratavore_site.parsers import MAX_BODY_BYTES
from stratavore_site.problems import all_problems, problem_of
from tests.callers import client_of, make_user, operator, reader
from tests.runners.factories import make_node, make_runner

pytestmark = pytest.mark.django_db
TOKEN = "/api/v1/auth/token/"
TOKENS = "/api/v1/auth/tokens/"
PASSWORD = "correct horse battery"
CREDENTIALS = {"username": "ada", "password": PASSWORD}


@pytest.fixture(autouse=True)
def _quick_passwords_and_a_fresh_throttle(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    cache.clear()


def with_token(token: str) -> APIClient:
    client = client_of()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    return client


def make_token(**wanted: Any) -> dict[str, Any]:
    answer = client_of().post(TOKEN, {**CREDENTIALS, "name": "laptop", **wanted}, format="json")
    assert answer.status_code == 201, answer.content
    made: dict[str, Any] = answer.json()
    return made


def test_a_token_speaks_for_its_user_until_it_is_revoked() -> None:
    make_user("ada", password=PASSWORD)
    made = make_token(expires_in_days=2)
    left = AccessToken.objects.get().expiry - timezone.now()
    assert timedelta(days=1, hours=23) < left <= timedelta(days=2)
    client = with_token(made["token"])
    assert client.get("/api/v1/runners/").status_code == 200
    assert client.delete(TOKEN).status_code == 204
    assert client.get("/api/v1/runners/").status_code == 401


def test_the_token_itself_is_not_kept() -> None:
    make_user("ada", password=PASSWORD)
    made = make_token()
    assert made["token"] not in str(AccessToken.objects.values())
    assert "token" not in with_token(made["token"]).get(TOKENS).json()["results"][0]


def test_an_expired_token_is_refused() -> None:
    make_user("ada", password=PASSWORD)
    made = make_token()
    AccessToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    assert with_token(made["token"]).get("/api/v1/runners/").status_code == 401
    again = make_token()
    assert with_token(again["token"]).get("/api/v1/runners/").status_code == 200
    assert AccessToken.objects.count() == 1, "what is expired holds no name, and is gone"


def test_a_user_revokes_only_tokens_of_their_own() -> None:
    make_user("ada", password=PASSWORD)
    made = make_token()
    assert reader().delete(f"{TOKENS}{made['id']}/").status_code == 404
    assert with_token(made["token"]).delete(f"{TOKENS}{made['id']}/").status_code == 204


def test_a_second_token_of_a_name_is_refused() -> None:
    make_user("ada", password=PASSWORD)
    make_token()
    answer = client_of().post(TOKEN, {**CREDENTIALS, "name": "laptop"}, format="json")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["name"])


@pytest.mark.parametrize("change", [{"password": "wrong"}, {"username": "nobody"}])
def test_a_wrong_name_or_password_is_refused_alike(change: dict[str, str]) -> None:
    make_user("ada", password=PASSWORD)
    answer = client_of().post(TOKEN, {**CREDENTIALS, "name": "x", **change}, format="json")
    assert answer.status_code == 401
    assert answer.json()["detail"] == "No active user has that name and password."


def test_guessing_passwords_is_slowed() -> None:
    client = client_of()
    answers = [client.post(TOKEN, {**CREDENTIALS, "name": "x"}, format="json") for _ in range(21)]
    assert {answer.status_code for answer in answers[:20]} == {401}
    assert (answers[20].status_code, answers[20].json()["type"]) == (429, "/problems/too_many_requests")
    assert int(answers[20]["Retry-After"]) > 0


def test_a_stranger_is_asked_who_they_are() -> None:
    answer = client_of().get("/api/v1/runners/")
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Token")
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/not_authenticated"


def test_a_session_needs_the_csrf_token_to_write() -> None:
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(make_user("ada", "runners.add_runner"))
    assert client.post("/api/v1/runners/", {}, format="json").status_code == 403
    assert client.get("/api/v1/runners/").status_code == 200


@pytest.mark.parametrize(
    ("method", "address", "body", "content_type", "status", "code"),
    [
        ("get", "/api/v1/nothing/", "", "application/json", 404, "not_found"),
        ("get", "/api/elsewhere", "", "application/json", 404, "not_found"),
        ("delete", "/api/v1/runners/", "", "application/json", 405, "method_not_allowed"),
        ("post", "/api/v1/runners/", "{", "application/json", 400, "malformed"),
        ("post", "/api/v1/runners/", '{"grace_seconds": NaN}', "application/json", 400, "malformed"),
        ("post", "/api/v1/runners/", "[" * 100_000, "application/json", 400, "malformed"),
        ("post", "/api/v1/runners/", "a=b", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        ("post", "/api/v1/runners/", '"' + "x" * MAX_BODY_BYTES + '"', "application/json", 413, "too_large"),
        ("post", "/api/v1/runners/", "[]", "application/json", 400, "validation"),
        ("get", "/api/v1/runners/?page=99", "", "application/json", 404, "not_found"),
    ],
)
def test_every_refusal_is_a_problem_document(
    method: str, address: str, body: str, content_type: str, status: int, code: str
) -> None:
    answer = operator().generic(method.upper(), address, body, content_type=content_type)
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    document = answer.json()
    assert (document["type"], document["status"]) == (f"/problems/{code}", status)
    assert document["title"]
    assert document["detail"]


def test_the_problems_are_listed() -> None:
    listed = {row["type"] for row in reader().get("/api/v1/problems/").json()}
    assert listed == {problem.type for problem in all_problems()}
    assert {"/problems/quota_exceeded", "/problems/validation", "/problems/personality_in_use"} <= listed


def test_the_code_of_an_error_and_of_its_problem_are_the_same() -> None:
    kinds, found = [RunnerError], []
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        found.append(kind)
    assert len(found) > 5
    for kind in found:
        problem = problem_of(kind("why"))
        assert problem is not None
        assert problem.code == kind.code


def test_an_error_counts_as_its_nearest_listed_ancestor() -> None:
    class Special(LaunchRefused):
        pass

    special, unreachable, broker = (
        problem_of(error) for error in (Special("x"), NodeUnreachable("x"), BrokerUnavailable("x"))
    )
    assert special is not None
    assert (special.code, special.status) == ("launch_refused", 422)
    assert unreachable is not None
    assert broker is not None
    assert (unreachable.status, broker.status) == (503, 503)
    assert problem_of(OutsideTransaction("a fault of ours")) is None


def test_the_status_page_tells_all_that_a_wallboard_needs(django_assert_num_queries: Any) -> None:
    make_runner(node=make_node(name="north", slots=2))
    client = operator()
    client.post("/api/v1/agents/", {"personality": "cadet"}, format="json")
    with django_assert_num_queries(8):
        body = client.get("/api/v1/status/").json()
    assert body["runners"]["running"] == 1
    assert body["runners"]["failed"] == 0
    assert (body["agents"]["idle"], body["projects"]["active"]) == (1, 1)
    assert [(node["name"], node["occupied"], node["slots"]) for node in body["nodes"]] == [("north", 1, 2)]
    assert (body["outbox"]["pending"], body["outbox"]["dead"]) == (Entry.objects.count(), 0)
    assert body["outbox"]["lag_seconds"] > 0


def test_the_schema_is_valid_without_a_warning(tmp_path: Path) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yml"))
    schema = yaml.safe_load((tmp_path / "schema.yml").read_text())
    operations = [operation for path in schema["paths"].values() for operation in path.values()]
    assert len(operations) > 25
    for operation in operations:
        assert operation.get("summary"), operation["operationId"]
        assert "default" in operation["responses"]


def test_schema_and_pages_are_served() -> None:
    client = client_of()
    assert client.get("/api/schema/").status_code == 200
    page = client.get("/api/docs/")
    assert page.status_code == 200
    # Served from here: a control plane may have no way to a CDN.
    assert b"cdn.jsdelivr" not in page.content
