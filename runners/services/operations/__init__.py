"""Operations: one verb done to everything that matches a filter, in the background, with a result for each item."""

from runners.services.operations.begin import Exempt, Preview, begin_operation, cancel_operation, preview
from runners.services.operations.run import run_operation
from runners.services.operations.verbs import Verb, all_verbs, register, verb_named

__all__ = [
    "Exempt",
    "Preview",
    "Verb",
    "all_verbs",
    "begin_operation",
    "cancel_operation",
    "preview",
    "register",
    "run_operation",
    "verb_named",
]
