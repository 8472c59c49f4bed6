"""Who may do what over the API: the outbox's, which stands below."""

from outbox.api.permissions import ActPermissions as ActPermissions
