"""The addresses."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from stratavore_site import health

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("dashboard.urls")),
    path("admin/", admin.site.urls),
    path("api/", include("stratavore_site.api_urls")),
    path("health/live", health.live, name="health-live"),
    path("health/ready", health.ready, name="health-ready"),
    path("", include("django_prometheus.urls")),  # /metrics
]
