"""Who acts, as the history names it: the outbox's, which stands below."""

from outbox.actors import MAX_LENGTH as MAX_LENGTH
from outbox.actors import actor_of as actor_of
