"""Find sessions that are about the same."""

from django.db.models import Avg, Q

from runners.models import ChunkVector, Session
from runners.services.embedding.choice import serving_model
from runners.services.search.filters import NO_FILTERS
from runners.services.search.find import NOTHING_YET, how_far, why_not
from runners.services.search.fusion import fuse
from runners.services.search.meaning import by_meaning
from runners.services.search.results import Found
from runners.services.search.words import tsquery
from runners.states import SearchMode

#: The first passages of a session say what it is about; a long one would cost as much as it is long.
PASSAGES = 200


def similar_sessions(session: Session) -> Found:
    """Return the sessions that said what is nearest to the mean of this one, nearest first. It asks no model."""
    nothing = tsquery("")
    model = serving_model()
    if model is None:
        return Found(nothing, [], note=why_not() or NOTHING_YET)
    own = ChunkVector.objects.filter(model=model, chunk__message__session=session).order_by("chunk_id")
    mean = own[:PASSAGES].aggregate(mean=Avg("embedding"))["mean"]
    if mean is None or not any(mean):
        return Found(nothing, [], mode=SearchMode.VECTORS, note="Nothing of this session has a vector yet.")
    near = by_meaning(model, mean, NO_FILTERS, but=Q(chunk__message__session=session))
    return Found(nothing, fuse([], near), mode=SearchMode.VECTORS, note=how_far(model))
