"""The addresses below /api/."""

from django.urls import URLPattern, URLResolver, include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.exceptions import NotFound
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from stratavore_site.tokens import TokenDetailView, TokenListView, TokenView
from stratavore_site.wallboard import ProblemsView, StatusView


class NoSuchAddress(APIView):
    """Whatever is no address of the API: a problem document, not a page."""

    schema = None
    authentication_classes = []
    permission_classes = [AllowAny]

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        raise NotFound("There is nothing at this address.")


v1: list[URLPattern | URLResolver] = [
    path("auth/token/", TokenView.as_view(), name="token"),
    path("auth/tokens/", TokenListView.as_view(), name="tokens"),
    path("auth/tokens/<slug:id>/", TokenDetailView.as_view(), name="token-detail"),
    path("status/", StatusView.as_view(), name="status"),
    path("problems/", ProblemsView.as_view(), name="problems"),
    path("", include("runners.api.urls")),
    path("", include("agents.api.urls")),
    path("", include("outbox.api.urls")),
]

urlpatterns = [
    path("v1/", include(v1)),
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    re_path("", NoSuchAddress.as_view()),
]
