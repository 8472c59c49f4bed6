"""Redaction: secrets are masked before anything is written to the database or to storage."""

from runners.redaction.redactor import LOOK_AHEAD_BYTES, LOOK_BACK_BYTES, Findings, Redactor
from runners.redaction.rules import BUILT_IN, BadRule, Rule, check_rule

__all__ = ["BUILT_IN", "LOOK_AHEAD_BYTES", "LOOK_BACK_BYTES", "BadRule", "Findings", "Redactor", "Rule", "check_rule"]
