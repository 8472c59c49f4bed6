"""The ASGI application: HTTP by Django, websockets by Channels."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "stratavore_site.settings")
django.setup(set_prefix=False)

# Imported after Django is set up: consumers need the app registry.
from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.urls import get_resolver  # noqa: E402

from dashboard.routing import websocket_urlpatterns  # noqa: E402
from runners.garbage import spare_what_stays  # noqa: E402
from stratavore_site.one_thread import OneThreadHandler  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": OneThreadHandler(),
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns))),
    }
)

# All views are imported now, not by the first request.
get_resolver().url_patterns  # noqa: B018
spare_what_stays()
