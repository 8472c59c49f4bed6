"""Admin pages whose changes are acts: for records that have no service of their own."""

from collections.abc import Iterable
from typing import Any

from django.db import models, transaction
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from outbox.actors import actor_of
from outbox.services import record_act


class AuditedAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Records `<record>.create`, `.change` and `.delete`, with what the form changed, beside Django's own log."""

    #: The noun of the acts; the model's name if empty.
    noun = ""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        # Here for the last time the form and what it will have changed are at hand; the log is written after it.
        request.audited_form = form  # type: ignore[attr-defined]
        super().save_related(request, form, formsets, change)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        _, after = _facts(request)
        self._record(request, "create", obj, after=after)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        before, after = _facts(request)
        self._record(request, "change", obj, before=before, after=after, reason="" if after else str(message))
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Iterable[Any]) -> Any:
        for obj in queryset:
            self._record(request, "delete", obj)
        return super().log_deletions(request, queryset)

    def _record(self, request: HttpRequest, verb: str, obj: models.Model, **facts: Any) -> None:
        noun = self.noun or str(obj._meta.model_name)
        # Django's "delete selected" runs in no transaction of its own.
        with transaction.atomic():
            record_act(
                f"{noun}.{verb}",
                actor=actor_of(request),
                target_type=noun,
                target_id=obj.pk,
                target_name=str(obj),
                **facts,
            )


def _facts(request: HttpRequest) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    form = getattr(request, "audited_form", None)
    if form is None:
        return None, None
    names = form.changed_data
    return {name: _shown(form.initial.get(name)) for name in names}, {
        name: _shown(form.cleaned_data.get(name)) for name in names
    }


def _shown(value: Any) -> Any:
    """Return a form's value as the log keeps it: records by their names."""
    if isinstance(value, models.QuerySet | list | tuple | set):
        return sorted(str(item) for item in value)
    return value if isinstance(value, str | int | float | None) else str(value)
