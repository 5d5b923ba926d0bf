"""Find users and passwords of URLs in any text. The time is linear in its length.

A password may contain a slash, an @ or a blank that should have been escaped. So it ends at the last possible @; when in
doubt, more is redacted rather than less. A port (`https://peer:9077 refused … bob@host`) and a path (`https://host/@scope`)
are not taken for a password.
"""

import re
from typing import Final

from schemas.redaction.patterns import lazily
from schemas.redaction.values import is_masked

Span = tuple[int, int]

# The slashes may be escaped, as PHP does in JSON.
_SLASHES: Final = lazily(r"(?<!\\)\\{0,4}/\\{0,4}/")
_SCHEME_CHARACTERS: Final = 40
_SCHEME: Final = lazily(r"([a-z][a-z0-9+.-]*):$", re.IGNORECASE)
_RUN: Final = lazily(r"[^\s\"'`<>]{0,600}")
# An @ further away does not end a user: only this much of a URL is examined, and a little more after a blank.
_URL_CHARACTERS: Final = 800
_AUTHORITY_END: Final = lazily(r"[/?#;\\]")
# Hosts with ports, as opposed to a user with a password.
_HOSTS: Final = lazily(
    r"(?:\[[0-9a-f:.%]*\]|[\w.%{}$-]*)(?::(?:\d{0,5}|port|%[sd]|\{\w*\}))?"
    r"(?:,(?:\[[0-9a-f:.%]*\]|[\w.%{}$-]+)(?::(?:\d{0,5}|port))?)*[)\].,:!|]*",
    re.IGNORECASE,
)
_QUERY_PARAMETER: Final = lazily(r"[?&][\w-]{1,60}=")
_HOST_AND_PORT: Final = lazily(r"[\w.-]{1,253}:\d{2,5}(?!\w)")
_HOST: Final = lazily(r"(\[[^\]]*\]?|[^:]*)((?::\d{1,5})?)")
_HOST_FOLLOWS: Final = lazily(r"[\w\[%{(.-]")
# This is a host, not the end of a password: a name with a dot or a port, an IP address, several hosts.
_CERTAIN_HOST: Final = lazily(
    r"\[[0-9a-f:.%]+\]|localhost$|[^:]*\.[\w-]+|[\w.-]+:\d{1,5}|[\w.-]+,", re.IGNORECASE
)
_AFTER_BLANK: Final = lazily(r"[^\n]{1,120}?@(?=[\w\[])")
_AFTER_ONE_BLANK: Final = lazily(r"[ \"'`<>][^\s@\"',]{1,60}@[\w.\[\]-]{1,253}[:/]")

_WEB: Final = frozenset({"http", "https", "ws", "wss", "git+https", "git+http", "svn+https", ""})
# In these schemes a user without a password is a name (in Azure's, a container). In all others it may be a token.
_NAMES_A_USER: Final = lazily(
    r"(?:postgres|mysql|maria|mssql|oracle|cockroach|redshift|snowflake|mongodb|amqp|pulsar|kafka|nats|mqtt|stomp|smtp"
    r"|imap|pop|ldap|ssh|sftp|scp|ftp|rsync|svn\+ssh|git\+ssh|git|hdfs|s3|gs|abfs|wasb|adl|file|sip|xmpp|nfs|smb|telnet|vnc"
    r"|rdp|jdbc|pg)",
    re.IGNORECASE,
)
_PLAIN_USERS: Final = frozenset({"git", "hg", "anonymous", "guest", "root", "admin", "postgres", "www"})
_NO_PASSWORDS: Final = frozenset({"", "x-oauth-basic", "x"})
_RANDOM_USER: Final = lazily(r"(?=.*\d)(?=.*[a-z])[\w.~+=%-]{20,}", re.IGNORECASE)


_LEADING_SCHEME: Final = lazily(r"[a-z][a-z0-9+.-]*://|//", re.IGNORECASE)
_QUERY: Final = lazily(r"[?#&;\s]")


def secrets_in_urls(text: str) -> list[Span]:
    """Return the passwords in URLs, and the users that may be tokens."""
    spans: list[Span] = []
    done, at = 0, -1
    is_cut = "..." in text or "…" in text
    for found in _SLASHES.finditer(text):
        start = found.end()
        if start <= done:
            continue
        if at < start:
            at = text.find("@", start)
            at = len(text) + _URL_CHARACTERS if at < 0 else at
        if at > start + _URL_CHARACTERS and not is_cut:
            continue
        scheme = _SCHEME.search(text[max(0, found.start() - _SCHEME_CHARACTERS) : found.start()])
        if scheme is None and not _begins(text, found.start()):
            continue
        begin = found.start() - (len(scheme[0]) if scheme else 0)
        name = scheme[1].lower() if scheme else ""
        user = _user(text, start, name, _closing_quote(text, begin))
        if user is not None:
            done = user
            spans += _secrets_of(text, start, user, name)
    return spans


def shown_url(url: str) -> str:
    """Return an address without user, password, query and fragment: its scheme, hosts, ports and path.

    For a text that is one address. Everything before the last @ is removed, so that no part of a password stays.
    """
    scheme = _LEADING_SCHEME.match(url)
    begin = scheme.end() if scheme else 0
    rest = url[begin:].rpartition("@")[2]
    hosts, slash, path = _QUERY.split(rest, maxsplit=1)[0].partition("/")
    return url[:begin] + ",".join(_shown_host(host) for host in hosts.split(",")) + slash + path


def _shown_host(host: str) -> str:
    """Return a host with its port. Anything else after the colon may be a password whose host is missing."""
    found = _HOST.match(host)
    assert found is not None
    return found[1] + found[2]


def _begins(text: str, at: int) -> bool:
    """Return whether ``//`` begins an address without a scheme."""
    return at == 0 or text[at - 1] in " \t\n\r\"'`(=<["


def _closing_quote(text: str, begin: int) -> str:
    """Return the quote around a URL that begins there; in quotes, its password may contain blanks."""
    return text[begin - 1] if begin and text[begin - 1] in "\"'`" else ""


def _user(text: str, start: int, scheme: str, quote: str) -> int | None:
    run = _RUN.match(text, start)
    assert run is not None
    end = run.end()
    if quote:
        closed = text.find(quote, start, start + 600)
        if closed >= 0 and "\n" not in text[start:closed]:
            end = closed
    url = text[start:end]
    cut = _AUTHORITY_END.search(url)
    authority = url[: cut.start()] if cut else url
    at = url.rfind("@")
    if "@" in authority:
        own = authority.rfind("@")
        if own != at and _goes_on(url, own, at, scheme):
            own = at
        if ":" in url[:own] and not _HOST_FOLLOWS.match(text, start + own + 1):  # a blank or quote follows
            return _beyond_blank(text, end) or start + own
        return start + own
    name, colon, rest = authority.partition(":")
    is_host = _HOSTS.fullmatch(authority) is not None
    if at >= 0:
        return start + at if _is_password(url, at, scheme, rest, is_host=is_host) else None
    if not colon:
        return None
    if is_host:
        # postgres://app:12 34@db:5432/x
        found = _AFTER_ONE_BLANK.match(text, end) if name and rest and scheme not in _WEB else None
        return text.index("@", end) if found else None
    return _cut_off(text, start, url) or _beyond_blank(text, end)


def _goes_on(url: str, own: int, later: int, scheme: str) -> bool:
    """Return whether a later @ ends the password, so that the first @ and a slash are part of it."""
    if ":" not in url[:own] or not _HOST_FOLLOWS.match(url, later + 1):
        return False
    between = url[own + 1 : later]
    if between.endswith("/"):
        return False
    if scheme in _WEB:
        return _CERTAIN_HOST.match(_AUTHORITY_END.split(between, 1)[0]) is None and "=" not in between
    return "?" not in between or "=" not in between


def _is_password(url: str, at: int, scheme: str, port: str, *, is_host: bool) -> bool:
    """Return whether an @ after a slash or a question mark ends a user."""
    if not _HOST_FOLLOWS.match(url, at + 1):
        return False
    if not is_host:
        return True
    if scheme in _WEB:
        # https://host:8443/bob@x is a path, and https://user:84/43@host:8443 a password; a port has at most 65535.
        return port.isdecimal() and (int(port) > 65_535 or _HOST_AND_PORT.match(url, at + 1) is not None)
    return port[:1].isdecimal() and url[at - 1] != "/" and _QUERY_PARAMETER.search(url, 0, at) is None


def _beyond_blank(text: str, end: int) -> int | None:
    """Return the end of a password that contains a blank or a quote, and whose first part ends at ``end``."""
    found = _AFTER_BLANK.match(text, end)
    if found is None or "//" in found[0]:
        return None
    run = _RUN.match(text, found.end())
    assert run is not None
    return max(found.end() - 1, text.rfind("@", found.end(), run.end()))


def _cut_off(text: str, start: int, url: str) -> int | None:
    """Return the end of a password in a URL that was cut within it: ``https://user:hun...example.com``."""
    for mark in ("...", "…"):
        at = url.find(mark, url.index(":"))
        if at >= 0:
            return start + at
    return start + len(url) if text.startswith("…", start + len(url)) else None


def _secrets_of(text: str, start: int, user: int, scheme: str) -> list[Span]:
    name, colon, password = text[start:user].partition(":")
    end = start + len(name)
    if not colon:
        return [] if _is_name(name, scheme) or is_masked(name) else [(start, end)]
    if is_masked(password):
        return []
    no_password = password in _NO_PASSWORDS
    secrets = [] if no_password else [(end + 1, user)]
    if name and not is_masked(name) and ((no_password and scheme in _WEB) or _is_random(name)):
        secrets.insert(0, (start, end))
    return secrets


def _is_name(user: str, scheme: str) -> bool:
    if not user or user.lower() in _PLAIN_USERS:
        return True
    return scheme not in _WEB and _NAMES_A_USER.match(scheme) is not None and not _is_random(user)


def _is_random(user: str) -> bool:
    return _RANDOM_USER.fullmatch(user) is not None
