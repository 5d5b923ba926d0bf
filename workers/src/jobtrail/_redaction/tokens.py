# Written by `make contract` from schemas/redaction/tokens.py; do not edit. `make check` fails when it differs.
"""Find secrets that are recognized by their looks: tokens of services, JWTs, private keys, credentials of HTTP.

A rule is tried only on texts that contain one of its triggers, because searching for a fixed text is far cheaper than
for a pattern. The prefixes are those that the services publish for scanners.
"""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from jobtrail._redaction.patterns import lazily
from jobtrail._redaction.values import is_sentence, looks_random

Span = tuple[int, int]


class _Rule(NamedTuple):
    triggers: tuple[str, ...]
    pattern: re.Pattern[str]
    """Its group ``secret`` is hidden, or the whole match if there is no such group."""
    is_secret: Callable[[str], bool] | None = None


def _is_basic(text: str) -> bool:
    try:
        return b":" in base64.b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return False


def _is_credential(text: str) -> bool:
    """Return whether it does not continue a sentence such as "Bearer token missing"."""
    text = text.rstrip("=")
    return not is_sentence(text) or not (text.islower() or text.istitle())


def _is_random_credential(text: str) -> bool:
    return _is_credential(text) and (looks_random(text) or not text.islower())


_WORD: Final = r"(?<![A-Za-z0-9_])"

_SERVICES: Final = tuple(
    _Rule(tuple(triggers.split()), lazily(pattern))
    for triggers, pattern in (
        # Private keys in PEM, with line breaks or with the two characters \n. One that was cut off extends to the end.
        (
            "-----BEGIN",
            r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----(?P<secret>(?:[^-]|-(?!----))*+)",
        ),
        ("AGE-SECRET-KEY", r"AGE-SECRET-KEY-1[0-9A-Z]{20,}+"),
        ("eyJ", rf"{_WORD}eyJ[\w-]{{8,}}+(?:\.[\w-]*+){{0,4}}"),
        ("AKIA", rf"{_WORD}AKIA[A-Z0-9]{{12,}}+"),
        ("ASIA", rf"{_WORD}ASIA[A-Z0-9]{{16}}(?![A-Z0-9])"),
        ("ghp_ gho_ ghu_ ghs_ ghr_", rf"{_WORD}gh[pousr]_[A-Za-z0-9]{{16,}}+"),
        ("github_pat_", rf"{_WORD}github_pat_\w{{16,}}+"),
        ("glpat-", rf"{_WORD}glpat-[\w.-]{{12,}}+"),
        ("xox", rf"{_WORD}xox[a-z]-[\w.-]{{8,}}+"),
        ("xapp-", rf"{_WORD}xapp-[\w-]{{8,}}+"),
        (
            "hooks.slack.com",
            r"hooks\.slack\.com\\?/(?:services|workflows|triggers)\\?/(?P<secret>[\w/\\-]{6,}+)",
        ),
        ("/webhooks/", r"discord(?:app)?\.com/api/webhooks/\d{1,30}/(?P<secret>[\w-]{16,}+)"),
        ("sk_live_ rk_live_", rf"{_WORD}(?:sk|rk)_live_\w{{8,}}+"),
        ("sk_test_ rk_test_", rf"{_WORD}(?:sk|rk)_test_\w{{8,}}+"),
        ("whsec_", rf"{_WORD}whsec_[\w+/=-]{{12,}}+"),
        ("AIza", rf"{_WORD}AIza[\w-]{{20,}}+"),
        ("ya29.", rf"{_WORD}ya29\.[\w.-]{{16,}}+"),
        ("GOCSPX-", rf"{_WORD}GOCSPX-[\w-]{{12,}}+"),
        ("sk-", rf"{_WORD}sk-(?:[a-z]{{2,10}}-)?(?=[\w-]{{0,80}}\d)[\w-]{{16,}}+"),
        ("hf_", rf"{_WORD}hf_[A-Za-z0-9]{{16,}}+"),
        ("npm_", rf"{_WORD}npm_[A-Za-z0-9]{{24,}}+"),
        ("pypi-", rf"{_WORD}pypi-AgE[\w-]{{16,}}+"),
        ("SG.", rf"{_WORD}SG\.[\w-]{{16,64}}\.[\w-]{{16,}}+"),
        ("dop_v1_ doo_v1_ dor_v1_", rf"{_WORD}do[opr]_v1_[0-9a-f]{{32,}}+"),
        ("shpat_ shpca_ shppa_ shpss_", rf"{_WORD}shp(?:at|ca|pa|ss)_[0-9a-fA-F]{{24,}}+"),
        ("sq0", rf"{_WORD}sq0[a-z]{{3}}-[\w-]{{16,}}+"),
        ("hvs.", rf"{_WORD}hvs\.[\w-]{{16,}}+"),
        ("dapi", rf"{_WORD}dapi[0-9a-f]{{32}}(?![0-9a-f])"),
        ("glsa_", rf"{_WORD}glsa_\w{{16,}}+"),
        ("lin_api_", rf"{_WORD}lin_api_\w{{16,}}+"),
        (":AA", r"(?<![0-9])\d{8,10}:AA[\w-]{30,}+"),  # a bot's token of Telegram
    )
)
# Not the parameter of a challenge: Bearer realm="x".
_CREDENTIAL: Final = r"[ \t]{1,4}(?P<secret>[\w.~+/-]++(?!=[\"']?\w)=*+)"
_HTTP: Final = (
    _Rule(("bearer",), lazily(rf"\b(?:Bearer|BEARER){_CREDENTIAL}"), _is_credential),
    _Rule(("bearer",), lazily(rf"\bbearer{_CREDENTIAL}"), _is_random_credential),
    _Rule(("basic",), lazily(r"(?i:\bbasic)[ \t]{1,4}(?P<secret>[A-Za-z0-9+/_-]{4,}+=*+)"), _is_basic),
    _Rule(
        ("digest",),
        lazily(
            r"(?i:\bdigest)[ \t]{1,4}(?P<secret>username=(?:\"[^\"\n]*+\"|[^\s,]++)"
            r"(?:[ \t]{0,4},[ \t]{0,4}[\w-]{1,40}=(?:\"[^\"\n]*+\"|[^\s,\"]++))*+)"
        ),
    ),
)

_WITHIN: Final = ("_", "-")
# Most texts contain neither sign, so most triggers need not be searched for.
_BY_SIGN: Final = tuple(
    (trigger, rule)
    for rule in _SERVICES
    for trigger in rule.triggers
    if any(sign in trigger for sign in _WITHIN)
)
_OTHERS: Final = tuple(
    (trigger, rule)
    for rule in _SERVICES
    for trigger in rule.triggers
    if all(sign not in trigger for sign in _WITHIN)
)
_TRIGGERS_BY_SIGN: Final = tuple(trigger for trigger, _ in _BY_SIGN)
_OTHER_TRIGGERS: Final = tuple(trigger for trigger, _ in _OTHERS)


def may_hold_token(text: str) -> bool:
    """Return whether a text may have a secret that `secrets_by_looks` finds without ``bearer``, ``basic`` or ``digest``."""
    has = text.__contains__
    return any(map(has, _OTHER_TRIGGERS)) or (any(map(has, _WITHIN)) and any(map(has, _TRIGGERS_BY_SIGN)))


def secrets_by_looks(text: str, lower: str) -> list[Span]:
    """Return such secrets; ``lower`` is the text in lower case."""
    rules = [rule for trigger, rule in _OTHERS if trigger in text]
    if "_" in text or "-" in text:
        rules += [rule for trigger, rule in _BY_SIGN if trigger in text]
    rules += [rule for rule in _HTTP if rule.triggers[0] in lower]
    spans: list[Span] = []
    for rule in rules:
        pattern = rule.pattern
        group = "secret" if "secret" in pattern.groupindex else 0
        spans += [
            found.span(group)
            for found in pattern.finditer(text)
            if rule.is_secret is None or rule.is_secret(found[group])
        ]
    return spans
