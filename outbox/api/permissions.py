"""Who may do what over the API: whoever is signed in may read; an act needs the permission that is named for it."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, IsAuthenticated
from rest_framework.request import Request


class ActPermissions(IsAuthenticated):
    """Reads for everyone signed in; each act needs the Django permission that the view's `act_permissions` names.

    An act that the view does not list is refused to all: forgetting one must not open it. A view whose records are
    not for everybody names a `read_permission`.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if not super().has_permission(request, view):
            return False
        if request.method in SAFE_METHODS:
            return self._may_read(request, view)
        if view.action is None:
            # The address does not take this method: DRF answers 405 after this check.
            return True
        wanted = view.act_permissions.get(view.action)
        self.message = f"That needs the permission {wanted}."
        return bool(wanted) and request.user.has_perm(wanted)

    def _may_read(self, request: Request, view: Any) -> bool:
        wanted = getattr(view, "read_permission", "")
        self.message = f"That needs the permission {wanted}."
        return not wanted or bool(request.user.has_perm(wanted))
