"""What usage costs: told by the program, reckoned by the price table, or unknown; never 0 for unknown."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from outbox.models import AuditEntry, Entry
from runners.exceptions import InvalidRequest, PriceInUse
from runners.models import ModelPrice, Runner, Session, UsageEntry
from runners.services.prices import REPRICE_TASK, delete_price, reprice_unknown, save_price
from runners.services.pricing import PriceBook
from runners.states import CostSource
from tests.callers import operator, reader
from tests.fake_models import Usage
from tests.runners.backends import test_claude_stream as claude
from tests.runners.factories import make_runner
from tests.runners.teller import STARTED, hand_over, report, starting
from tests.runners.teller import teller as teller

db = pytest.mark.django_db
EPOCH = datetime.fromtimestamp(0, UTC)


def make_price(pattern: str = "m*", output_usd: int | str = 1_000_000, **fields: Any) -> ModelPrice:
    """Make a price from 1970 on: without another, one dollar for each output token."""
    values = {"input_usd": Decimal(0), "valid_from": EPOCH, **fields}
    return save_price(ModelPrice(), {"pattern": pattern, "output_usd": Decimal(output_usd), **values}, actor="user:ada")


def price(pattern: str, **fields: Any) -> ModelPrice:
    values = {"input_usd": Decimal(3), "output_usd": Decimal(15), "valid_from": EPOCH, **fields}
    return ModelPrice(pattern=pattern, **values)


def costs(runner: Runner) -> list[tuple[str, Decimal | None, str]]:
    return list(UsageEntry.objects.filter(runner=runner).order_by("id").values_list("key", "cost_usd", "source"))


def test_a_cost_is_reckoned_from_the_four_kinds_of_tokens() -> None:
    full = price("m", cache_read_usd=Decimal("0.3"), cache_write_usd=Decimal("3.75"))
    assert full.cost((1_000, 100, 20_000, 4_000)) == Decimal("0.0255")
    assert full.cost((0, 0, 0, 0)) == 0


def test_a_price_that_lacks_for_tokens_there_are_makes_the_cost_unknown() -> None:
    partial = price("m")
    assert partial.cost((1_000, 0, 0, 0)) == Decimal("0.003")
    assert partial.cost((1_000, 0, 1, 0)) is None


@pytest.mark.parametrize(
    ("model", "chosen"),
    [
        ("sonnet-5", "sonnet-5"),
        ("sonnet-5-20260101", "sonnet-5-*"),
        ("sonnet-6", "sonnet-*"),
        ("other/sonnet-6", "*/sonnet-6"),
        ("opus", None),
        ("", None),
    ],
)
def test_the_most_precise_price_is_taken(model: str, chosen: str | None) -> None:
    book = PriceBook([price(pattern) for pattern in ("sonnet-*", "sonnet-5-*", "sonnet-5", "*/sonnet-6")])
    found = book.price_of(model, EPOCH)
    assert (found.pattern if found else None) == chosen


def test_a_price_of_a_provider_is_for_names_with_it_and_for_names_without_any() -> None:
    book = PriceBook([price("sonnet", provider="acme")])
    assert book.price_of("acme/sonnet", EPOCH) is not None
    assert book.price_of("sonnet", EPOCH) is not None
    assert book.price_of("rival/sonnet", EPOCH) is None


def test_between_two_providers_nothing_is_guessed() -> None:
    book = PriceBook([price("sonnet", provider="acme"), price("sonnet", provider="rival")])
    assert book.price_of("sonnet", EPOCH) is None
    found = book.price_of("rival/sonnet", EPOCH)
    assert found is not None
    assert found.provider == "rival"


def test_a_price_holds_from_its_first_moment_up_to_its_end() -> None:
    noon = EPOCH + timedelta(hours=12)
    book = PriceBook([price("m", valid_to=noon, note="old"), price("m", valid_from=noon, note="new")])
    notes = []
    for at in (EPOCH, noon - timedelta(microseconds=1), noon):
        found = book.price_of("m", at)
        notes.append(found.note if found else None)
    assert notes == ["old", "old", "new"]
    assert book.price_of("m", EPOCH - timedelta(seconds=1)) is None


@db
def test_usage_is_priced_as_it_is_entered_by_the_price_of_its_time() -> None:
    make_price(output_usd=1_000_000, valid_to=datetime.fromtimestamp(10, UTC))
    make_price(output_usd=2_000_000, valid_from=datetime.fromtimestamp(10, UTC))
    runner = starting()
    hand_over(
        runner,
        STARTED,
        report(tokens=3, model="m1", key="old", at=9.9),
        report(tokens=3, model="m1", key="new", at=10.0),
        report(tokens=3, model="x", key="none"),
        report(tokens=3, model="m1", cost="0.5", key="told"),
    )
    assert costs(runner) == [
        ("old", Decimal(3), "priced"),
        ("new", Decimal(6), "priced"),
        ("none", None, "unknown"),
        ("told", Decimal("0.5"), "reported"),
    ]
    session = Session.objects.get()
    assert (session.cost_usd, session.cost_source) == (Decimal("9.5"), CostSource.UNKNOWN)


@db
def test_a_session_of_which_some_is_priced_and_nothing_unknown_is_priced() -> None:
    make_price()
    runner = starting()
    hand_over(runner, report(tokens=3, model="m", key="u1"), report(tokens=3, cost="1", key="u2"))
    session = Session.objects.get()
    assert (session.cost_usd, session.cost_source) == (Decimal(4), CostSource.PRICED)


@db
def test_a_total_told_at_the_end_brings_the_sum_to_what_the_program_says() -> None:
    """While the run works its tokens are priced; the program's own total replaces that, to the cent."""
    make_price()
    runner = starting()
    hand_over(
        runner,
        report(tokens=3, model="m1", stretch="run", key="u1"),
        report(tokens=4, model="m2", stretch="run", key="u2"),
    )
    assert Session.objects.get().cost_usd == 7
    hand_over(
        runner,
        report(tokens=0, model="m1", cost="5", covers=["run"], key="t1"),
        report(tokens=0, model="m2", cost="1", covers=["run"], all_models=True, key="t2"),
        start=20,
    )
    session = Session.objects.get()
    assert (session.cost_usd, session.cost_source, session.output_tokens) == (Decimal(6), CostSource.REPORTED, 7)
    by_model = {"m1": Decimal(0), "m2": Decimal(0)}
    for model, cost in UsageEntry.objects.values_list("model", "cost_usd"):
        by_model[model] += cost or 0
    assert by_model == {"m1": Decimal(5), "m2": Decimal(1)}


@db
def test_what_a_killed_run_used_stays_priced_when_the_next_run_tells_its_own_total() -> None:
    make_price()
    runner = starting()
    hand_over(
        runner,
        report(tokens=3, model="m", stretch="killed", key="u1"),
        report(tokens=2, model="m", stretch="second", key="u2"),
        report(tokens=0, model="m", cost="2.5", covers=["second"], all_models=True, key="total"),
    )
    session = Session.objects.get()
    assert (session.cost_usd, session.cost_source) == (Decimal("5.5"), CostSource.PRICED)


@db
def test_a_price_added_later_prices_what_was_unknown_once() -> None:
    runner = starting()
    hand_over(runner, report(tokens=3, model="m", key="u1"), report(tokens=2, model="x", key="u2"))
    assert reprice_unknown() == 0
    make_price()
    assert Entry.objects.filter(type=REPRICE_TASK).exists()
    assert (reprice_unknown(), reprice_unknown()) == (1, 0)
    assert costs(runner) == [("u1", Decimal(3), "priced"), ("u2", None, "unknown")]
    session = Session.objects.get()
    assert (session.cost_usd, session.cost_source) == (Decimal(3), CostSource.UNKNOWN)


@db
def test_what_a_later_total_holds_is_not_priced_again() -> None:
    runner = starting()
    hand_over(runner, report(tokens=3, model="m", key="u1"), report(tokens=0, cost="2", settles=True, key="total"))
    make_price()
    assert reprice_unknown() == 0
    session = Session.objects.get()
    assert (session.cost_usd, session.cost_source) == (Decimal(2), CostSource.REPORTED)


@db
@pytest.mark.parametrize(
    "change", [{"output_tokens": 9}, {"cost_usd": Decimal(9)}, {"source": "unknown", "cost_usd": None}, {"key": "x"}]
)
def test_the_ledger_cannot_be_rewritten(change: dict[str, Any]) -> None:
    hand_over(starting(), report(tokens=3, cost="1", key="u1"))
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        UsageEntry.objects.update(**change)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        UsageEntry.objects.all().delete()


@db
def test_a_price_that_was_used_stays_as_it_is_and_can_be_ended() -> None:
    used, unused = make_price(), make_price("other")
    hand_over(starting(), report(tokens=3, model="m", key="u1"))
    with pytest.raises(PriceInUse):
        save_price(used, {"output_usd": Decimal(1)}, actor="user:ada")
    with pytest.raises(PriceInUse):
        delete_price(used, actor="user:ada")
    assert save_price(used, {"valid_to": datetime(2030, 1, 1, tzinfo=UTC)}, actor="user:ada").valid_to is not None
    delete_price(unused, actor="user:ada")
    assert ModelPrice.objects.count() == 1
    acts = AuditEntry.objects.order_by("pk").values_list("action", flat=True)
    assert list(acts) == ["price.create", "price.create", "price.change", "price.delete"]


@db
@pytest.mark.parametrize(
    "wrong", [{"output_usd": Decimal(-1)}, {"valid_to": EPOCH - timedelta(days=1)}, {"pattern": ""}]
)
def test_a_price_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        make_price(**wrong)


STEPS = st.lists(
    st.one_of(
        st.builds(
            lambda k, n, m, s: report(tokens=n, model=m, stretch=s, key=f"u{k}"),
            st.integers(0, 9), st.integers(0, 9), st.sampled_from(["m1", "m2", "x"]), st.sampled_from("ab"),
        ),
        st.builds(
            lambda k, c, m, s, every: report(tokens=0, cost=c, model=m, covers=[s], all_models=every, key=f"t{k}"),
            st.integers(0, 3), st.sampled_from(["0.5", "7"]), st.sampled_from(["m1", "x"]), st.sampled_from("ab"),
            st.booleans(),
        ),
        st.builds(lambda k: report(tokens=1, cost="3", settles=True, key=f"s{k}"), st.integers(0, 2)),
    ),
    max_size=12,
)  # fmt: skip


@pytest.mark.django_db(transaction=True)
@settings(max_examples=40, deadline=None)
@given(records=STEPS, cuts=st.lists(st.integers(0, 12), max_size=4))
def test_any_split_gives_the_same_costs_and_the_session_is_their_sum(
    records: list[dict[str, Any]], cuts: list[int]
) -> None:
    ModelPrice.objects.get_or_create(
        pattern="m*", valid_from=EPOCH, defaults={"input_usd": 0, "output_usd": Decimal(1_000_000)}
    )
    whole, parts = starting(), starting()
    if records:
        hand_over(whole, *records)
    for start, end in pairwise(sorted({0, len(records), *(cut for cut in cuts if cut < len(records))})):
        for _ in range(2):
            hand_over(parts, *records[start:end], start=10 * start)
    assert costs(whole) == costs(parts)
    for runner in (whole, parts):
        session = Session.objects.get(runners=runner)
        known = [cost for _, cost, _ in costs(runner) if cost is not None]
        assert session.cost_usd == (sum(known) if known else None)
        unknown = UsageEntry.objects.filter(runner=runner, source="unknown", settled_by=None).exists()
        assert (session.cost_source == CostSource.UNKNOWN) == (unknown or not costs(runner))


@pytest.mark.django_db(transaction=True)
@settings(max_examples=25, deadline=None)
@given(played=claude.runs, cuts=st.lists(st.integers(0, 60), max_size=4))
def test_whatever_claude_code_was_priced_at_meanwhile_the_sum_is_what_it_told_in_the_end(
    played: list[tuple[list[tuple[str, Usage]], str]], cuts: list[int]
) -> None:
    for pattern in ("opus", "haiku*"):
        ModelPrice.objects.get_or_create(
            pattern=pattern,
            valid_from=EPOCH,
            defaults={"input_usd": 7, "output_usd": 1, "cache_read_usd": 3, "cache_write_usd": 5},
        )
    program = claude.Program()
    records = [{"boot_id": "b", **record} for answers, how in played for record in program.run(answers, how)]
    runner = make_runner(backend="claude_code")
    for start, end in pairwise(sorted({0, len(records), *(cut for cut in cuts if cut < len(records))})):
        hand_over(runner, *records[start:end], start=10 * start)
    session = Session.objects.get(runners=runner)
    assert session.cost_source != CostSource.UNKNOWN or not session.total_tokens
    if played[-1][1] == "result" and not any(how == "lost" and answers for answers, how in played):
        told = sum((float(claude.PRICES[m] * tokens.prompt_tokens) for m, tokens in program.used.items()), 0.0)
        assert (session.cost_usd or 0) == Decimal(str(told)).quantize(Decimal("0.00000001"))
        assert session.cost_source == CostSource.REPORTED


@db
def test_prices_are_kept_over_the_api() -> None:
    client = operator()
    body = {"pattern": "m*", "input_usd": "3", "output_usd": "15", "valid_from": "2026-01-01T00:00:00Z"}
    made = client.post("/api/v1/prices/", body, format="json")
    assert made.status_code == 201, made.content
    assert (made.json()["output_usd"], made.json()["cache_read_usd"]) == ("15.000000", None)
    address = f"/api/v1/prices/{made.json()['id']}/"
    assert client.patch(address, {"note": "from the page of prices"}, format="json").status_code == 200
    assert client.post("/api/v1/prices/", body, format="json").status_code == 422
    wrong = client.post("/api/v1/prices/", {**body, "output_usd": "-1"}, format="json")
    assert (wrong.status_code, list(wrong.json()["errors"])) == (400, ["output_usd"])
    hand_over(starting(), report(tokens=3, model="m", key="u1", at=2e9))
    assert client.patch(address, {"output_usd": "1"}, format="json").json()["type"] == "/problems/price_in_use"
    assert client.delete(address).status_code == 409


@db
def test_a_reader_sees_prices_and_changes_none() -> None:
    client = reader()
    assert client.get("/api/v1/prices/").status_code == 200
    assert client.post("/api/v1/prices/", {}, format="json").status_code == 403


@db
def test_staff_add_a_price_in_the_admin(client: Any, admin_user: Any) -> None:
    client.force_login(admin_user)
    hand_over(starting(), report(tokens=3, model="m", key="u1"))
    typed = {
        "pattern": "m", "provider": "", "input_usd": "3", "output_usd": "15", "cache_read_usd": "",
        "cache_write_usd": "", "valid_from_0": "1970-01-01", "valid_from_1": "00:00:00", "valid_to_0": "",
        "valid_to_1": "", "note": "",
    }  # fmt: skip
    answer = client.post("/admin/runners/modelprice/add/", typed)
    assert answer.status_code == 302, answer.context["errors"]
    assert reprice_unknown() == 1
    made = ModelPrice.objects.get()
    page = client.get(f"/admin/runners/modelprice/{made.pk}/change/")
    assert page.status_code == 200
    assert "note" in page.context["adminform"].form.fields
    assert "output_usd" not in page.context["adminform"].form.fields


@db
def test_usage_is_summed_by_day_project_model_and_agent_and_says_what_it_does_not_know() -> None:
    make_price()
    ada = starting(agent_name="ada")
    hand_over(
        ada,
        report(tokens=3, model="m", key="u1", at=3600.0 * 23.5),
        report(tokens=5, model="x", key="u2", at=3600.0 * 24.5),
    )
    hand_over(starting(), report(tokens=7, cost="0.25", model="m", key="u1", at=3600.0 * 30))
    client = operator()

    def rows(query: str) -> dict[str, tuple[int, str | None, int]]:
        answer = client.get(f"/api/v1/usage/summary/?{query}")
        assert answer.status_code == 200, answer.content
        return {
            row["key"]: (row["total_tokens"], row["cost_usd"], row["unknown_tokens"])
            for row in answer.json()["results"]
        }

    assert rows("group_by=day") == {"1970-01-01": (3, "3.00000000", 0), "1970-01-02": (12, "0.25000000", 5)}
    assert rows("group_by=day&time_zone=Europe/Berlin") == {"1970-01-02": (15, "3.25000000", 5)}
    assert rows("group_by=model") == {"m": (10, "3.25000000", 0), "x": (5, None, 5)}
    assert rows("group_by=agent") == {"ada": (8, "3.00000000", 5), "": (7, "0.25000000", 0)}
    assert rows(f"group_by=project&project={ada.project.name}") == {ada.project.name: (8, "3.00000000", 5)}
    total = client.get("/api/v1/usage/summary/").json()["total"]
    assert (total["total_tokens"], total["cost_usd"], total["unknown_tokens"]) == (15, "3.25000000", 5)
    assert client.get("/api/v1/usage/summary/?group_by=moon").status_code == 400
    assert client.get("/api/v1/usage/summary/?time_zone=Moon/Base").status_code == 400
