"""Each rule finds its secret, and lets pass what only looks like one."""

import base64
import hashlib
import random
import uuid

import pytest

from runners.redaction import BUILT_IN, BadRule, Redactor, Rule, check_rule
from tests.runners.redaction.recordings import SECRETS, redactor

PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,5E2A\n\n"
    "MIIEowIBAAKCAQEAx7Kq\nabcd+/==\n-----END RSA PRIVATE KEY-----\n"
)


@pytest.mark.parametrize(("rule", "secret"), SECRETS.items())
def test_a_token_is_found_wherever_it_stands(rule: str, secret: str) -> None:
    for text in (secret, f"see {secret}, please", f"({secret})", f"a\n{secret}\nb", f"x='{secret}';"):
        masked, found = redactor().text(text)
        assert secret not in masked
        assert len(masked) == len(text)
        assert [name for name, _ in found] == [rule]


@pytest.mark.parametrize(
    ("text", "secret", "rule"),
    [
        ("export DB_PASSWORD=hunter22", "hunter22", "variable"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzz", "wJalrXUtnFEMI", "variable"),
        ('{"password": "hunter two?"}', "", ""),
        ('{"password": "hunter22"}', "hunter22", "named_secret"),
        ("{'api_key' => 'abcdefgh'}", "abcdefgh", "named_secret"),
        ('  "clientSecret":"f00ba4ba2"', "f00ba4ba2", "named_secret"),
        ('{"text": "{\\"password\\": \\"hunter22\\"}"}', "hunter22", "named_secret"),
        ('password = "hunter22"', "hunter22", "assigned_secret"),
        ("api_key: 'abcdefgh'", "abcdefgh", "assigned_secret"),
        ("mysql --password=hunter22 -u root", "hunter22", "option"),
        ("https://x.example/?access_token=abc123def&x=1", "abc123def", "option"),
        ("password: hunter22", "hunter22", "option"),
        ('curl -H "x-api-key: abc123def456"', "abc123def456", "option"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz", "authorization"),
        ('"authorization": "Bearer abcdefghijkl"', "abcdefghijkl", "authorization"),
        ("-H 'Authorization: token abcdefghijkl'", "abcdefghijkl", "authorization"),
        ("with bearer abcdef0123456789abcdef", "abcdef0123456789abcdef", "bearer"),
        ("postgres://app:hunter2@db.example:5432/app", "hunter2", "url_password"),
        ("redis://:s3cret@cache/0", "s3cret", "url_password"),
        (PEM, "MIIEowIBAAKCAQEAx7Kq", "private_key"),
        (PEM[: PEM.index("abcd")], "MIIEowIBAAKCAQEAx7Kq", "private_key"),
        ("     1→" + PEM.replace("\n", "\n     2→"), "MIIEowIBAAKCAQEAx7Kq", "private_key"),
        ("+" + PEM.replace("\n", "\n+"), "abcd+/==", "private_key"),
    ],
)
def test_a_secret_is_known_by_its_place(text: str, secret: str, rule: str) -> None:
    masked, found = redactor().text(text)
    assert not secret or secret not in masked
    assert [name for name, _ in found] == [rule] * bool(rule)


@pytest.mark.parametrize(
    "text",
    [
        hashlib.sha256(b"x").hexdigest(),
        f"commit {hashlib.sha1(b'x', usedforsecurity=False).hexdigest()}",
        str(uuid.UUID(int=2**127 + 12345)),
        "data:image/png;base64," + base64.b64encode(random.Random(1).randbytes(60_000)).decode(),
        "sha512-" + base64.b64encode(hashlib.sha512(b"x").digest()).decode(),
        '{"input_tokens": 12345678, "output_tokens": 7, "max_tokens": 32000}',
        '{"token": null, "password": true, "secret": 12345678}',
        'token = request.headers.get("Authorization")',
        "password=form.cleaned_data['password'], token=token, api_key=settings.API_KEY2",
        "DB_PASSWORD=${DB_PASSWORD} TOKEN=$TOKEN API_KEY=<your-key> SECRET_KEY={{ secret }}",
        'api_key = os.environ["OPENAI_API_KEY"]',
        "def check(password: str, token: str | None = None) -> bool:",
        "ANTHROPIC_API_KEY=your_api_key_here",
        "sk-fading-circle-spinner-with-a-long-name",
        "postgres://user:password@localhost/name and http://localhost:8000/@me",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----",
        "-----BEGIN CERTIFICATE-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END CERTIFICATE-----",
        "The bearer of this letter understands authorization and authentication.",
        "arn:aws:iam::123456789012:role/reader and s3://bucket/key",
        "Authorization: Bearer $TOKEN",
    ],
)
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    assert redactor().text(text) == (text, {})


def test_a_secret_that_stands_in_three_places_is_one_and_another_one_is_another() -> None:
    first, second = SECRETS["github_token"], SECRETS["github_token"].replace("0", "9")
    found = redactor().text(f"{first} {first} {second} {first}")[1]
    assert sorted(found.values()) == [1, 3]
    assert {rule for rule, _ in found} == {"github_token"}


def test_what_is_masked_already_is_not_counted_again() -> None:
    text = "export DB_PASSWORD=hunter22 x=" + SECRETS["github_token"] + ' {"password": "another"}'
    masked, _ = redactor().text(text)
    assert redactor().text(masked) == (masked, {})


def test_white_space_in_a_key_stays_so_that_lines_remain_lines() -> None:
    masked, _ = redactor().text(PEM)
    assert masked.count("\n") == PEM.count("\n")
    assert "-----END RSA PRIVATE KEY-----" in masked


def test_a_rule_of_ones_own_masks_its_group() -> None:
    own = Rule("badge", "Badges", r"badge (\d{6})")
    assert Redactor([own], b"k").text("badge 123456, seat 123456")[0] == "badge ******, seat 123456"


@pytest.mark.parametrize(
    ("name", "pattern", "word"),
    [
        ("own", "(a", "RE2 does not know"),
        ("own", r"(a)\1", "RE2 does not know"),
        ("own", "(?=a)b", "RE2 does not know"),
        ("own", "a*", "empty text"),
        ("own", "", "1 to 1000 characters"),
        ("own", r"\C", "half a character"),
        ("Own rule", "a", "small letters"),
        ("jwt", "a", "comes with Stratavore"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused_with_the_reason(name: str, pattern: str, word: str) -> None:
    with pytest.raises(BadRule, match=word):
        check_rule(Rule(name, "", pattern))


def test_names_of_rules_are_told_apart_and_fit_in_a_row() -> None:
    names = [rule.name for rule in BUILT_IN]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 40
