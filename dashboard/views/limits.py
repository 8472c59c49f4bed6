"""End a provider's limit by hand."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from dashboard.page import live_page, need
from runners.actors import actor_of
from runners.models import ProviderLimit
from runners.services.provider_limits import clear_limit


@require_POST
@live_page
def clear(request: HttpRequest, limit_id: int) -> HttpResponse:
    """End one limit, and go back to the runners."""
    need(request, "runners.clear_limit")
    limit = clear_limit(get_object_or_404(ProviderLimit, pk=limit_id).pk, actor=actor_of(request))
    messages.success(request, f"{limit.label}: whoever waits starts now.")
    return redirect(reverse("dashboard:runners"))
