"""What programs ask before they act: taken in, answered by rule, by people or by the clock, and carried back."""

from runners.services.approvals.asked import note_given, take_in
from runners.services.approvals.decide import Decision, decide_approval
from runners.services.approvals.expire import expire_approvals, send_again
from runners.services.approvals.give import give_answer

__all__ = [
    "Decision",
    "decide_approval",
    "expire_approvals",
    "give_answer",
    "note_given",
    "send_again",
    "take_in",
]
