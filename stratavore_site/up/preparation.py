"""What Stratavore needs before it can serve: tables, someone who may log in, and something to look at."""

import os
import secrets
from pathlib import Path

import psycopg
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import transaction

from outbox.services import record_act
from runners.models import Runner
from stratavore_site.embedded.processes import write_private
from stratavore_site.up.demo import see_to_demo_project

ADMIN = "admin"


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


def tell_who_goes_on(file: Path) -> None:
    """Write down the runners of this node that are not ended by our ending, one a line."""
    runners = Runner.objects.open().filter(node__name=settings.NODE_NAME, pid__isnull=False)
    file.write_text("".join(f"{runner} ({runner.status})\n" for runner in runners.select_related("project")))
