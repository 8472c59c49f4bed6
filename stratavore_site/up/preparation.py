"""What Stratavore needs before it can serve: tables, someone who may log in, and something to look at."""

import os
import secrets
import subprocess
from pathlib import Path

import psycopg
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import transaction

from outbox.services import record_act
from runners.backends.base import LaunchRequest
from runners.models import Project, Runner
from runners.services import launch_runner
from runners.services.projects import create_project
from stratavore_site.embedded.processes import write_private

ADMIN = "admin"
DEMO = "demo"
DEMO_PROMPT = "Look around in this repository and improve its greeting."
#: Files of the demo project; a scripted agent has something to read and to change.
DEMO_FILES = {
    "README.md": "# Demo\n\nA small repository for Stratavore's demo runner. Change what you like.\n",
    "greeting.py": 'def greeting(name: str) -> str:\n    return f"Hello, {name}!"\n\n\nprint(greeting("world"))\n',
}


def prepare(password_file: Path) -> None:
    """Migrate, and see to the admin user and the demo project. Ends with exit code 1 after one sentence."""
    reach_database()
    call_command("migrate", interactive=False, verbosity=0)
    see_to_admin(password_file)
    see_to_demo_project()


def reach_database() -> None:
    """End with one sentence when the database cannot be reached; the pool would try for 10 s and not say why."""
    try:
        psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=5).close()
    except psycopg.Error as reason:
        raise SystemExit(f"The database cannot be reached: {str(reason).splitlines()[0]}") from None


def see_to_admin(password_file: Path) -> None:
    """Create the admin user with a random password, unless there is one. The password goes into a private file."""
    users = get_user_model()._default_manager
    if users.filter(username=ADMIN).exists():
        return
    password = secrets.token_urlsafe(12)
    # The file first: a password that nobody knows is worse than a file without a user.
    write_private(password_file, password + "\n")
    with transaction.atomic():
        user = users.create_superuser(username=ADMIN, password=password)
        record_act("user.create", actor="system:up", target_type="user", target_id=user.pk, target_name=ADMIN)


def see_to_demo_project() -> None:
    """Make a small git repository and a project over it, unless there is one."""
    if Project.objects.filter(name=DEMO).exists():
        return
    directory = Path(settings.WORKSPACE_ROOTS[0]) / DEMO
    make_repository(directory)
    create_project(
        name=DEMO, path=str(directory), description="A small repository to try things on.", actor="system:up"
    )


def make_repository(directory: Path) -> None:
    """Make the demo repository with one commit; without git, a plain directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in DEMO_FILES.items():
        (directory / name).write_text(text)
    identity = {"GIT_AUTHOR_NAME": "Stratavore", "GIT_AUTHOR_EMAIL": "demo@localhost"}
    committer = {key.replace("AUTHOR", "COMMITTER"): value for key, value in identity.items()}
    # The caller's own git settings (signing, hooks) have no business here.
    env = {**os.environ, **identity, **committer, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    for words in (["init", "--quiet", "--initial-branch=main"], ["add", "."], ["commit", "--quiet", "-m", "Begin"]):
        try:
            subprocess.run(["git", *words], cwd=directory, env=env, check=True)
        except FileNotFoundError:
            return


def launch_demo() -> None:
    """Launch the demo runner, at the first start only."""
    if not Runner.objects.filter(project__name=DEMO).exists():
        launch_runner(DEMO, LaunchRequest(backend="demo", prompt=DEMO_PROMPT, name="demo"), actor="system:up")


def tell_who_goes_on(file: Path) -> None:
    """Write down the runners of this node that are not ended by our ending, one a line."""
    runners = Runner.objects.open().filter(node__name=settings.NODE_NAME, pid__isnull=False)
    file.write_text("".join(f"{runner} ({runner.status})\n" for runner in runners.select_related("project")))
