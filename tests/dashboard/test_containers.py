"""Containers on the pages: offered where a node has an engine, shown where a runner is in one."""

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from runners.models import Runner
from tests.runners.factories import make_node, make_project, make_runner

pytestmark = pytest.mark.django_db

ENGINE = {"name": "podman", "version": "4.3.1", "rootless": "no"}
IMAGE = "localhost/agents:1"


@pytest.fixture(autouse=True)
def allowed(settings: Settings) -> None:
    settings.CONTAINER_IMAGES = [IMAGE, "docker.io/library/*"]
    settings.CONTAINER_NETWORKS = ["agents"]


def test_a_container_is_offered_only_where_a_node_reports_an_engine(client: Client) -> None:
    make_project()
    node = make_node()
    assert 'name="runtime"' not in client.get("/launch/").content.decode()
    node.engine = ENGINE
    node.save()
    page = client.get("/launch/").content.decode()
    assert 'name="runtime"' in page
    assert f'<option value="{IMAGE}">' in page
    assert "library/*" not in page
    assert '<option value="agents">agents</option>' in page
    assert "podman 4.3.1" in client.get("/nodes/").content.decode()


def test_it_is_launched_as_chosen_shown_and_launched_again(client: Client) -> None:
    make_node(engine=ENGINE)
    typed = {"runtime": "container", "image": IMAGE, "network": "agents"}
    client.post("/launch/", {"project": make_project().name, "backend": "command", "command": "true", **typed})
    runner = Runner.objects.get()
    assert (runner.runtime, runner.image, runner.network) == ("container", IMAGE, "agents")
    page = client.get(f"/runners/{runner.pk}/").content.decode()
    assert IMAGE in page
    assert "<dd>agents</dd>" in page
    form = client.get(f"/launch/?again={runner.pk}").context["form"]
    assert {name: form[name].value() for name in typed} == typed


def test_a_process_launched_beside_a_typed_image_is_a_process(client: Client) -> None:
    make_node(engine=ENGINE)
    typed = {"runtime": "process", "image": IMAGE, "network": "none"}
    client.post("/launch/", {"project": make_project().name, "backend": "command", "command": "true", **typed})
    assert Runner.objects.get().image == ""


def test_an_image_that_is_not_allowed_is_refused_at_its_field(client: Client) -> None:
    make_node(engine=ENGINE)
    typed = {"runtime": "container", "image": "ghcr.io/else/where:1", "network": "none"}
    answer = client.post("/launch/", {"project": make_project().name, "backend": "command", "command": "true", **typed})
    assert answer.status_code == 422
    assert "is not allowed" in str(answer.context["form"].errors["image"])


def test_staff_see_the_image_in_the_admin(client: Client) -> None:
    runner = make_runner(runtime="container", image=IMAGE)
    assert IMAGE in client.get(f"/admin/runners/runner/{runner.pk}/change/").content.decode()
    node = make_node(engine=ENGINE)
    assert "podman 4.3.1" in client.get(f"/admin/runners/node/{node.pk}/change/").content.decode()
