"""The addresses of the websockets."""

from typing import Any

from django.urls import path

from dashboard.live import live_socket
from dashboard.terminal import terminal_socket

# Typed as views by Django, while the router calls them as ASGI applications.
_live: Any = live_socket
_terminal: Any = terminal_socket

websocket_urlpatterns = [
    path("ws/live/", _live),
    path("ws/runners/<uuid:runner_id>/terminal/", _terminal),
]
