"""Print how far the audit log reaches, to be kept elsewhere and given to verify_audit."""

from typing import Any

from django.core.management.base import BaseCommand

from outbox.services.verify import take_checkpoint


class Command(BaseCommand):
    help = "Print how far the audit log reaches, to be kept elsewhere and given to verify_audit --checkpoint."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(str(take_checkpoint()))
