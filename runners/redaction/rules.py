"""What counts as a secret: the rules that come with Stratavore, and what a rule of one's own must be.

Patterns are RE2's: matched in linear time, whatever they are and whatever is searched. A rule's secret is the first of
its groups that took part in the match, or all of the match. Rules see text as people do: without escapes of JSON and
without colours; a line's end is a newline.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import re2

#: What we put in place of a secret, and therefore none: [rule]****, or stars where that is too long.
MASKED = re.compile(rb"(?:\[[a-z0-9_]+\])?\*+")
NAME = re.compile(r"[a-z][a-z0-9_]{1,39}")
LONGEST_PATTERN = 1000
#: Of one pattern, compiled; RE2 refuses larger ones. Its default is 8 MB, for each of three kinds of automata.
MEMORY_BYTES = 8 << 20

#: Values that stand for a secret in examples, templates and code.
_PLACEHOLDERS = re.compile(
    rb"(?:x+|\.+|-+|_+|#+|0+|none|null|nil|true|false|undefined|string|secret|password|passwd|token|pass|test|"
    rb"changeme|redacted|hidden|example|placeholder|required|optional|unset|empty|str|bytes|int|self|"
    rb"[\w.-]*(?:your|example|placeholder|changeme|dummy)[\w.-]*)",
    re.IGNORECASE,
)
#: request.headers.get(…, os.environ[…, settings.TOKEN, ${TOKEN}, $TOKEN, {{ token }}, <token>, %s: code, not a value.
_CODE = re.compile(rb"[$<{%(\[]|[A-Za-z_][\w.$]*[(\[]|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+$")
_DIGIT, _UPPER, _LOWER = re.compile(rb"[0-9]"), re.compile(rb"[A-Z]"), re.compile(rb"[a-z]")


def anything(_: bytes) -> bool:
    """Take every match for a secret."""
    return True


def is_value(value: bytes) -> bool:
    """Tell a value from an example, a template, and code that fetches one."""
    return not _PLACEHOLDERS.fullmatch(value) and not _CODE.match(value)


def is_random_value(value: bytes) -> bool:
    """Tell a value that somebody or something made up from a word."""
    return is_value(value) and bool(_DIGIT.search(value)) and bool(_LOWER.search(value) or _UPPER.search(value))


def is_mixed(value: bytes) -> bool:
    """Tell random letters from names such as sk-fading-circle: they have digits and both cases."""
    return bool(_DIGIT.search(value) and _UPPER.search(value) and _LOWER.search(value))


@dataclass(frozen=True)
class Rule:
    """One kind of secret."""

    name: str
    #: For people.
    what: str
    #: RE2's syntax.
    pattern: str
    #: A second look at what matched, where the pattern alone would take too much.
    is_secret: Callable[[bytes], bool] = anything


#: Ends of names whose values are secrets: DB_PASSWORD, x-api-key, clientSecret.
_NAMES = (
    r"(?:passwor[dt]|passwd|passphrase|secret|(?:secret|private|access|api|auth|encryption|signing|account)[_-]?key|"
    r"(?:access|auth|refresh|session|id|bearer|bot)?[_-]?token|credentials?)"
)
#: JSON in JSON in JSON has up to seven backslashes before a quote; rules see them as blanks.
_QUOTE = r"""[\s\\]{0,7}["'][\s\\]{0,7}"""
_VALUE = r"""[^\s\\"'<>]{6,}"""

_BEGIN = r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
_HEADERS = r"(?:[\s0-9→|>+]*[A-Za-z][A-Za-z-]{1,30}: [^\s\"]{1,100})*"
#: Between lines of a key; files are also shown with numbers of lines, or with marks of a diff.
_GAP = r"[\s0-9→|>+]*"

#: Specific ones first: of two that match in one place, the first one counts.
BUILT_IN = (
    Rule(
        "private_key",
        "Private keys (PEM, OpenSSH, PGP): all between BEGIN and END",
        # Whole, or without its end: then lines of 16 characters or more are taken for the key's.
        rf"{_BEGIN}({_HEADERS}(?:{_GAP}[A-Za-z0-9+/=]+)*){_GAP}-----END|{_BEGIN}({_HEADERS}(?:{_GAP}[A-Za-z0-9+/=]{{16,}})*)",
    ),
    Rule("anthropic_key", "Anthropic: sk-ant-…", r"sk-ant-[A-Za-z0-9_-]{16,}"),
    Rule(
        "openai_key",
        "OpenAI, OpenRouter, DeepSeek and others that begin with sk-",
        r"(?:^|[^A-Za-z0-9])(sk-(?:proj-|svcacct-|admin-|or-v1-|None-)?[A-Za-z0-9_-]{20,})",
        is_mixed,
    ),
    Rule(
        "google_key",
        "Google: API keys, access tokens, client secrets",
        r"AIza[0-9A-Za-z_-]{35}|ya29\.[0-9A-Za-z_-]{20,}|GOCSPX-[0-9A-Za-z_-]{28}",
    ),
    Rule("aws_key", "AWS: access key ids", r"\b(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}\b"),
    Rule("github_token", "GitHub: ghp_…, github_pat_…", r"gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,}"),
    Rule(
        "gitlab_token",
        "GitLab: glpat-… and its kin",
        r"gl(?:pat|ptt|rt|oas|dt|cbt|agent|soat|ft|imt)-[A-Za-z0-9_.-]{20,}",
    ),
    Rule(
        "slack_token",
        "Slack: tokens and addresses of webhooks",
        r"xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[0-9]-[A-Za-z0-9-]{10,}|"
        r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_-]{20,}",
    ),
    Rule(
        "service_key",
        "Stripe, npm, PyPI, Hugging Face, Groq, xAI, Perplexity, Replicate, DigitalOcean, SendGrid, Telegram, Docker",
        r"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,}|hf_[A-Za-z0-9]{30,}|"
        r"gsk_[A-Za-z0-9]{40,}|xai-[A-Za-z0-9]{60,}|pplx-[A-Za-z0-9]{40,}|r8_[A-Za-z0-9]{30,}|"
        r"do[opr]_v1_[a-f0-9]{64}|SG\.[\w-]{22}\.[\w-]{43}|\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}\b|"
        r"dckr_pat_[A-Za-z0-9_-]{20,}",
    ),
    Rule("jwt", "JSON Web Tokens", r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}"),
    Rule(
        "authorization",
        "Values of Authorization headers",
        r"(?i)\b(?:proxy-)?authorization(?:" + _QUOTE + r")?\s{0,3}[:=]\s{0,3}(?:" + _QUOTE + r")?"
        r"(?:bearer|basic|token|apikey|digest)\s+([A-Za-z0-9._~+/=-]{8,})",
        is_value,
    ),
    Rule("bearer", "Bearer tokens anywhere", r"(?i)\bbearer\s+([A-Za-z0-9._~+/=-]{16,})", is_random_value),
    Rule(
        "url_password",
        "Passwords in addresses: postgres://user:…@host",
        r"[A-Za-z][A-Za-z0-9+.-]*://[^\s:/@\"'<>]*:([^\s@/\"'<>]+)@",
        is_value,
    ),
    Rule(
        "named_secret",
        "\"password\": \"…\", 'api_key' => '…' and the like",
        # After a quoted name only a quoted value: a number must stay one, so that JSON stays JSON.
        rf"(?i){_NAMES}{_QUOTE}(?::|=>|=){_QUOTE}({_VALUE}){_QUOTE}",
        is_value,
    ),
    Rule(
        "assigned_secret",
        "password = '…', api_key: \"…\" and the like",
        rf"(?i){_NAMES}(?:[ \t]{{0,4}}=|:[ \t]){_QUOTE}({_VALUE}){_QUOTE}",
        is_value,
    ),
    Rule(
        "variable",
        "DB_PASSWORD=…, GITHUB_TOKEN=…, AWS_SECRET_ACCESS_KEY=…",
        r"(?:^|[^A-Za-z0-9_])[A-Z0-9_]*(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|_KEY|APIKEY|CREDENTIALS|_PASS|_PWD)="
        r"([^\s\"'<>;&|]{6,})",
        is_value,
    ),
    Rule(
        "option",
        "--password=…, ?token=…, x-api-key: … and the like, where the value has digits",
        rf"(?i)(?:^|--|[?&;,\s\"'])[a-z0-9_.-]*{_NAMES}(?:=|:[ \t]{{1,4}}|[ \t]{{1,4}}=[ \t]{{1,4}})"
        r"([^\s\"'<>;&|,()]{8,})",
        is_random_value,
    ),
)


class BadRule(ValueError):
    """A rule of one's own that cannot be used; the message says why."""


def check_rule(rule: Rule) -> None:
    """Raise BadRule unless this can be a rule of one's own."""
    if not NAME.fullmatch(rule.name):
        raise BadRule("A name has 2 to 40 small letters, digits and _, a letter first.")
    if rule.name in {built_in.name for built_in in BUILT_IN}:
        raise BadRule(f"{rule.name} comes with Stratavore: it can be switched off, and has no pattern of its own.")
    compile_pattern(rule.pattern)


def compile_pattern(pattern: str) -> Any:
    """Return the pattern compiled. Raises BadRule."""
    if not pattern or len(pattern) > LONGEST_PATTERN:
        raise BadRule(f"A pattern has 1 to {LONGEST_PATTERN} characters.")
    if "\\C" in pattern:
        raise BadRule("\\C matches half a character: it is not for text.")
    try:
        compiled = re2.compile(pattern, options())
    except re2.error as error:
        raise BadRule(f"RE2 does not know this pattern: {_words(error)}.") from None
    if compiled.search(b"") is not None:
        raise BadRule("The pattern matches the empty text, and so everywhere.")
    return compiled


def options() -> Any:
    """Return how RE2 takes patterns."""
    chosen = re2.Options()
    chosen.log_errors = False
    chosen.max_mem = MEMORY_BYTES
    return chosen


def _words(error: Exception) -> str:
    told = error.args[0] if error.args else ""
    return told.decode(errors="replace") if isinstance(told, bytes) else str(told)
