"""The versions of records that people edit, as staff see them."""

from typing import Any

from django.contrib import admin
from unfold.decorators import display

from runners.admin_base import ReadOnlyAdmin, link_to
from runners.models import BudgetVersion, ProjectVersion, QuotaVersion
from runners.services.history import acts_of, values_of

NONE = "–"  # noqa: RUF001 - an en dash is meant


@admin.register(ProjectVersion, QuotaVersion, BudgetVersion)
class VersionAdmin(ReadOnlyAdmin):
    list_display = ["pgh_created_at", "pgh_obj_id", "shown_change", "shown_values", "done_by"]
    list_filter = ["pgh_label", "pgh_created_at"]
    ordering = ["-pgh_id"]
    fields = ["pgh_created_at", "pgh_obj_id", "shown_change", "shown_values", "done_by"]

    @display(
        description="change", ordering="pgh_label", label={"insert": "success", "update": "info", "delete": "danger"}
    )
    def shown_change(self, version: Any) -> str:
        return str(version.pgh_label)

    @display(description="as it was then")
    def shown_values(self, version: Any) -> str:
        return "; ".join(f"{name} {value}" for name, value in values_of(version).items() if value not in ("", [], None))

    @display(description="by")
    def done_by(self, version: Any) -> str:
        """The act in the audit log; without one the change went past the services."""
        act = acts_of([version]).get(version.transaction_id)
        return link_to(act, f"{act.actor} {act.action}") if act else NONE
