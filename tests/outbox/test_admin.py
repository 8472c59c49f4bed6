import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from outbox.models import Entry
from outbox.services.number import number_committed
from outbox.states import Status
from tests.outbox.stream import happen

pytestmark = pytest.mark.django_db
LIST = "/admin/outbox/entry/"


@pytest.fixture
def dead() -> Entry:
    entry = happen("a:1", 1)
    happen("a:2", 2)
    number_committed()
    Entry.objects.filter(pk=entry.pk).update(status=Status.DEAD, attempts=12, error="no queue is bound")
    return entry


def act(client: Client, action: str, *entries: Entry, query: str = "") -> str:
    everything = {"select_across": "1"} if query else {}
    chosen = {"_selected_action": [str(entry.pk) for entry in entries], "action": action, **everything}
    response = client.post(f"{LIST}{query}", chosen, follow=True)
    assert response.status_code == 200
    return response.content.decode()


def test_staff_see_what_died_and_why(admin_client: Client, dead: Entry) -> None:
    assert "a:1" in admin_client.get(LIST, {"status__exact": "dead"}).content.decode()
    page = admin_client.get(reverse("admin:outbox_entry_change", args=[dead.pk])).content.decode()
    assert "no queue is bound" in page


def test_staff_retry_a_dead_entry(admin_client: Client, dead: Entry) -> None:
    assert "1 dead entry tried again" in act(admin_client, "retry_selected", dead)
    dead.refresh_from_db()
    assert (dead.status, dead.attempts) == (Status.PENDING, 0)


def test_staff_retry_all_that_match_a_filter(admin_client: Client, dead: Entry) -> None:
    other = happen("a:3", 3)
    number_committed()
    Entry.objects.filter(pk=other.pk).update(status=Status.DEAD, attempts=1, error="e")
    assert "2 dead entries" in act(admin_client, "retry_selected", dead, query="?status__exact=dead")
    assert not Entry.objects.dead().exists()


def test_purging_takes_the_dead_only(admin_client: Client, dead: Entry) -> None:
    act(admin_client, "purge_selected", *Entry.objects.all())
    assert [entry.aggregate for entry in Entry.objects.all()] == ["a:2"]


def test_who_may_only_look_can_do_nothing_else(client: Client, dead: Entry) -> None:
    user = User.objects.create_user("looker", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_entry"))
    client.force_login(user)
    assert client.get(LIST).status_code == 200
    client.post(LIST, {"_selected_action": [dead.pk], "action": "purge_selected"})
    client.post(LIST, {"_selected_action": [dead.pk], "action": "retry_selected"})
    dead.refresh_from_db()
    assert dead.status == Status.DEAD


def test_nothing_is_added_changed_or_deleted_by_hand(admin_client: Client, dead: Entry) -> None:
    assert admin_client.get(f"{LIST}add/").status_code == 403
    assert admin_client.post(f"{LIST}{dead.pk}/delete/", {"post": "yes"}).status_code == 403
    admin_client.post(f"{LIST}{dead.pk}/change/", {"type": "other"})
    dead.refresh_from_db()
    assert dead.type == "test.happened"
