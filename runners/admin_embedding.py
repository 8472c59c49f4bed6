"""The models of search by meaning as staff see them: how far they are, and what they refused."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from runners.actors import actor_of
from runners.admin_base import ReadOnlyAdmin, ReadOnlyInline
from runners.models import EmbeddingModel, WaitingChunk
from runners.services.embedding import progress, retry_refused, serving_model


class RefusedInline(ReadOnlyInline):
    model = WaitingChunk
    verbose_name_plural = "refused passages"
    fields = readonly_fields = ["passage", "attempts", "due_at", "error"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[WaitingChunk]:
        found: QuerySet[WaitingChunk] = super().get_queryset(request)
        return found.filter(attempts__gt=1).select_related("chunk").order_by("-pk")

    @display(description="passage")
    def passage(self, waiting: WaitingChunk) -> str:
        return str(waiting.chunk)


@admin.register(EmbeddingModel)
class EmbeddingModelAdmin(ReadOnlyAdmin):
    list_display = ["name", "embedder", "dimension", "state", "embedded", "waiting", "refused", "trouble"]
    fields = readonly_fields = [
        "embedder", "name", "dimension", "state", "embedded", "waiting", "refused",
        "created_at", "ready_at", "embedded_at", "failures", "paused_until", "last_error",
    ]  # fmt: skip
    inlines = [RefusedInline]
    actions = ["try_again"]

    @display(description="state")
    def state(self, model: EmbeddingModel) -> str:
        if model == serving_model():
            return "searched by" if model.ready_at else "searched by, not complete yet"
        return "being made ready" if model.in_use else "no longer used"

    @display(description="embedded")
    def embedded(self, model: EmbeddingModel) -> int:
        return progress([model])[0].embedded

    @display(description="waiting")
    def waiting(self, model: EmbeddingModel) -> int:
        return progress([model])[0].waiting

    @display(description="refused")
    def refused(self, model: EmbeddingModel) -> int:
        return progress([model])[0].refused

    @display(description="trouble")
    def trouble(self, model: EmbeddingModel) -> str:
        return model.last_error[:200]

    @admin.action(description="Ask again now, and try what was refused", permissions=["try_again"])
    def try_again(self, request: HttpRequest, queryset: QuerySet[EmbeddingModel]) -> None:
        for model in queryset:
            count = retry_refused(model, actor=actor_of(request))
            told = f"{model.name} is asked again; {count} refused passages are tried."
            self.message_user(request, told, messages.SUCCESS)

    def has_try_again_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("runners.change_embeddingmodel"))
