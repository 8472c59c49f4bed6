"""Serializers that refuse what they do not know: the outbox's, which stands below."""

from outbox.api.strict import StrictSerializer as StrictSerializer
