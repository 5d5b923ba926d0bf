# Written by `make contract` from schemas/redaction/commands.py; do not edit. `make check` fails when it differs.
"""Find secrets by their place: on command lines, in SQL, in sentences, and in errors of pydantic.

A rule is tried only on texts that contain one of its triggers, as in `tokens`.
"""

import re
from typing import Final, NamedTuple

from jobtrail._redaction.names import NAME_CHARACTERS, Secrecy
from jobtrail._redaction.pairs import Judge, value_at
from jobtrail._redaction.patterns import lazily
from jobtrail._redaction.values import is_harmless, is_masked, is_sentence, looks_random

Span = tuple[int, int]


class _Rule(NamedTuple):
    triggers: tuple[str, ...]
    pattern: re.Pattern[str]
    """Its group ``secret`` is hidden."""
    must_look_random: bool = False


_SAID: Final = r"(?i:pass(?:word|phrase|wd)|api[ _-]?key|access[ _-]token|secret[ _-]key)"
_QUOTED: Final = r"(?P<quote>[\"'`])(?P<secret>[^\s\"'`]{1,500}+)(?P=quote)"

# The triggers of the rules for sentences. `pairs` finds names with a sign behind them.
_BEFORE_VALUES: Final = (
    *("password ", "password:", "passphrase ", "passphrase:", "passwd ", "passwd:"),
    *("access token ", "access_token ", "api key ", "api key:", "api_key ", "api-key "),
    *("apikey ", "secret key ", "secret_key ", "auth token ", "token is", "token was"),
    *("secret is", "secret was"),
)
_RULES: Final = (
    # mysql -pS, mysqldump … '-pS'
    _Rule(
        ("-p",),
        lazily(r"(?<![\w-])(?:mysql|mariadb)[\w-]*+[^\n]{0,300}?[\s\"']-p(?P<secret>[^\s\"'=,]++)"),
    ),
    _Rule(
        ("sshpass",),
        lazily(r"sshpass[\"']?,?[ \t]{1,4}[\"']?-p[\"']?,?[ \t]{0,4}[\"']?(?P<secret>[^\s\"',]++)"),
    ),
    _Rule(
        (" -p",),
        lazily(r"[ \"']login[ \"'][^\n]{0,200}?[ \"']-p[\"']?,?[ \t]{1,4}[\"']?(?P<secret>[^\s\"',]++)"),
    ),
    # curl -u user:S
    _Rule(
        ("-u",),
        lazily(
            r"(?<![\w-])(?:-u|--user|--proxy-user)[\"']?[=, \t]{1,4}[\"']?[^\s:\"']{1,100}:(?P<secret>[^\s\"',]++)"
        ),
    ),
    _Rule(
        ("identified",),
        lazily(r"(?i:identified\b[^\n'\"]{0,60}?\bby)[ \t]{1,4}(?P<quote>['\"])(?P<secret>[^'\"\n]++)"),
    ),
    # ~/.netrc
    _Rule(
        ("machine",),
        lazily(
            r"\bmachine\s{1,4}\S{1,200}\s{1,4}login\s{1,4}\S{1,200}\s{1,4}password\s{1,4}(?P<secret>\S++)"
        ),
    ),
    # scott/tiger@//host, user:S@tcp(host:3306)
    _Rule(
        ("oracle", "sqlplus"),
        lazily(
            r"(?i:oracle:\w{1,10}:|\bsqlplus[ \t]{1,4}(?:-\w{1,10}[ \t]{1,4}){0,5})"
            r"[^\s/@]{1,100}/(?P<secret>[^\s@]{1,200}+)@"
        ),
    ),
    _Rule(
        ("@tcp(", "@udp(", "@unix("),
        lazily(r"(?<![\w.])[\w.-]{1,100}+:(?P<secret>[^\s:\"']{1,200}?)@(?:tcp|udp|unix)\("),
    ),
    _Rule(
        ("@",),
        lazily(
            r"(?<![\w.:/@-])[\w.-]{1,100}+:(?P<secret>[^\s:/@\"']{1,200}+)@(?!sha256)[\w.-]{1,100}+:\d{2,5}\b"
        ),
    ),
    # ALTER ROLE x PASSWORD 'S'; invalid password "S"
    _Rule(
        _BEFORE_VALUES,
        lazily(rf"\b{_SAID}(?:[ ](?:is|was|provided|given|supplied))?:?[ \t]{{1,4}}{_QUOTED}"),
    ),
    # invalid token 'S'; API key provided: S
    _Rule(("token ",), lazily(rf"(?i:\btoken)[ \t]{{1,4}}{_QUOTED}"), must_look_random=True),
    _Rule(
        _BEFORE_VALUES,
        lazily(rf"\b{_SAID}[ ](?:is|was|provided|given|supplied):[ \t]{{1,4}}(?P<secret>[^\s\"'`\[(]++)"),
    ),
    # the token is S; with password S
    _Rule(
        _BEFORE_VALUES,
        lazily(
            rf"\b(?:{_SAID}|(?i:token|secret))[ ](?:is|was|provided|given|supplied):?[ \t]{{1,4}}"
            r"[\"'`]?(?P<secret>[^\s\"'`\[(]++)"
        ),
        must_look_random=True,
    ),
    _Rule(
        _BEFORE_VALUES,
        lazily(
            rf"\b(?:{_SAID}|(?i:auth[ ]token))[ ](?P<secret>(?=[^\s\"'`]{{0,80}}\d)[^\s\"'`\[(,;:]{{7,}}+)"
        ),
        must_look_random=True,
    ),
    _Rule(
        ("token ",),
        lazily(r"(?i:\btoken)[ ](?P<secret>(?=[A-Za-z_-]{0,80}\d)(?=[\d_-]{0,80}[A-Za-z])[\w-]{16,}+)"),
    ),
)
_BY_TRIGGER: Final = tuple((trigger, rule) for rule in _RULES for trigger in rule.triggers)
# --password S, and so on for every name of a secret.
_OPTION: Final = lazily(r"(?<![\w-])--(?P<name>[A-Za-z][\w-]*+)[ \t]{1,8}(?![-\s])")
# ENV PASSWORD S
_DOCKERFILE: Final = lazily(r"\bENV[ \t]{1,8}(?P<name>\w{1,100}+)[ \t]{1,8}(?P<secret>[^\s=]++)")
# <wsse:Password Type="…">S</wsse:Password>
_ELEMENT: Final = lazily(
    r"<(?:[\w.-]{1,30}:)?(?P<name>[\w.-]{1,60})[ \t][^<>]{0,300}+>(?P<secret>[^<]{1,2000}+)</"
)
# pydantic names the field on the line before: password\n  … [type=…, input_value='S', input_type=str]
_FIELD: Final = lazily(
    r"^(?P<name>[\w.\[\]-]{1,200}+)\n[ ]{2}[^\n]{0,500}?\binput_value=(?P<secret>[^\n]{1,500}?)(?=, input_type=|\]$)",
    re.MULTILINE,
)


def may_hold_command(text: str) -> bool:
    """Return whether a text may have a secret that `secrets_by_place` finds without a part of a secret's name."""
    return "-p" in text or "-u" in text or "@" in text or "IDENTIFIED" in text or "identified" in text


def secrets_by_place(text: str, lower: str, secrecy_of: Judge) -> list[Span]:
    """Return such secrets; ``lower`` is the text in lower case."""
    spans: list[Span] = []
    for rule in dict.fromkeys(rule for trigger, rule in _BY_TRIGGER if trigger in lower):
        spans += [
            found.span("secret")
            for found in rule.pattern.finditer(text)
            if _is_secret(found["secret"], must_look_random=rule.must_look_random)
        ]
    if "--" in text:
        spans += [span for found in _OPTION.finditer(text) if (span := _of_option(text, found, secrecy_of))]
    if "ENV" in text:
        spans += [found.span("secret") for found in _DOCKERFILE.finditer(text) if _of_name(found, secrecy_of)]
    if "</" in text:
        spans += [found.span("secret") for found in _ELEMENT.finditer(text) if _of_name(found, secrecy_of)]
    if "input_value=" in text:
        spans += [found.span("secret") for found in _FIELD.finditer(text) if _of_name(found, secrecy_of)]
    return spans


def _is_secret(value: str, *, must_look_random: bool) -> bool:
    if is_masked(value) or is_harmless(value, Secrecy.CERTAIN) or value.isdecimal():
        return False
    return looks_random(value) if must_look_random else not is_sentence(value)


def _of_option(text: str, found: re.Match[str], secrecy_of: Judge) -> Span | None:
    secrecy = secrecy_of(found["name"][-NAME_CHARACTERS:])
    return value_at(text, found.end(), secrecy) if secrecy else None


def _of_name(found: re.Match[str], secrecy_of: Judge) -> bool:
    secrecy = secrecy_of(found["name"])
    return bool(secrecy) and not is_harmless(found["secret"], secrecy)
