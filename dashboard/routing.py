"""The addresses of the websockets."""

from django.urls import path

from dashboard.live import live_socket
from dashboard.terminal import terminal_socket

websocket_urlpatterns: list[object] = [
    path("ws/live/", live_socket),
    path("ws/runners/<uuid:runner_id>/terminal/", terminal_socket),
]
