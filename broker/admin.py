"""Pulsar's admin REST: requests, who we are, and errors that say what to do. What is asked lies in ``provision``, ``backlog`` and ``topic_log``."""

import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import httpx

from broker.client import token_supplier
from schemas.errors import BrokerError
from schemas.redaction import shown_url
from settings.broker import BrokerSettings

_API = "/admin/v2"


class Admin:
    """An open connection to the admin REST of one broker. Make it with ``admin``."""

    def __init__(self, http: httpx.Client, url: str) -> None:
        self._http = http
        self._url = url

    def get(self, path: str) -> Any:
        """The JSON at a path; None where there is nothing (404) and where a policy is not set (an empty answer)."""
        response = self._request("GET", path)
        if response.status_code == httpx.codes.NOT_FOUND or not response.content:
            return None
        return response.json()

    def put(self, path: str, body: Any) -> None:
        """Create, or set. Something that is there already (409) is no error: two may provision at once."""
        self._request("PUT", path, body, fine=(httpx.codes.CONFLICT,))

    def post(self, path: str, body: Any) -> None:
        """Set, or update."""
        self._request("POST", path, body, fine=())

    def _request(
        self, method: str, path: str, body: Any = None, fine: tuple[int, ...] = (httpx.codes.NOT_FOUND,)
    ) -> httpx.Response:
        where = f"{method} {shown_url(self._url)}{_API}{path}"
        try:
            if method == "GET":
                response = self._http.get(_API + path)
            else:
                response = self._http.request(method, _API + path, json=body)
        except httpx.HTTPError as error:
            raise BrokerError(
                f"no answer from the broker's admin REST ({where}): {error}. Is JOBTRAIL_PULSAR_ADMIN_URL its address, "
                "and with https:// is its certificate trusted (JOBTRAIL_PULSAR_TLS_TRUST_CERTS_FILE)? A broker without "
                "admin REST (pulsar-lite) cannot be provisioned, and needs no provisioning."
            ) from error
        if response.is_success or response.status_code in fine:
            return response
        raise BrokerError(f"the broker refused {where}: {_reason(response)}")


@contextmanager
def admin(settings: BrokerSettings, timeout_seconds: float | None = None) -> Iterator[Admin]:
    """Open the admin REST that the settings name, with their token and TLS. Raises BrokerError.

    ``timeout_seconds`` is the limit of one request where another one is wanted than of other operations.
    """
    supplier = token_supplier(settings)
    home = _home(settings)
    with httpx.Client(
        base_url=home,
        event_hooks={"request": [] if supplier is None else [_authorizing(supplier, settings, home)]},
        verify=_tls(settings),
        timeout=timeout_seconds or settings.pulsar_operation_timeout_seconds,
        follow_redirects=True,  # a broker sends to the one that owns the namespace
    ) as http:
        yield Admin(http, settings.pulsar_admin_url.rstrip("/"))


def _home(settings: BrokerSettings) -> httpx.URL:
    """The address of the admin REST. Raises BrokerError, without what httpx says of a URL: that quotes the password."""
    try:
        url = httpx.URL(settings.pulsar_admin_url.rstrip("/"))
    except httpx.InvalidURL:
        url = None
    # A password with a / or ? that is not escaped goes on in what httpx takes for path or query.
    if url is None or b"@" in url.raw_path or "@" in url.fragment:
        raise BrokerError(
            f"JOBTRAIL_PULSAR_ADMIN_URL cannot be used ({shown_url(settings.pulsar_admin_url)}): expected "
            "http://host:8080 or https://host:8443; escape reserved characters in user and password with %XX."
        )
    return url


def _authorizing(
    supplier: Callable[[], str], settings: BrokerSettings, home: httpx.URL
) -> Callable[[httpx.Request], None]:
    """Called for every request, those that follow a redirect included: it carries the token.

    In a cluster of several brokers each redirects to the one that owns the namespace, and that one asks who we are as
    well; httpx drops the header on the way to another host. Which hosts are brokers we cannot know beforehand. But a
    redirect is the word of a broker that already has the token, so following it tells nobody who could not be told
    anyway, as long as two things hold: from https never to http, where the network could read it; and only to the path
    of the admin REST, which Pulsar keeps, so that the login page of a proxy does not get it. Otherwise the request is
    not sent at all: without the token it would end in a refusal that misleads.
    """

    def authorize(request: httpx.Request) -> None:
        url = request.url
        own = (url.scheme, url.host, url.port) == (home.scheme, home.host, home.port)
        safe = url.scheme == "https" or home.scheme == "http"
        if not own and not (safe and url.path.startswith(f"{_API}/")):
            raise BrokerError(
                f"{shown_url(settings.pulsar_admin_url)} redirects to {shown_url(str(url))}, to which the token is not "
                "sent: expected the admin REST of another broker, over https if JOBTRAIL_PULSAR_ADMIN_URL is https. Set "
                "JOBTRAIL_PULSAR_ADMIN_URL to a broker, and advertise every broker's https address "
                "(webServicePortTls) in the cluster."
            )
        request.headers["Authorization"] = f"Bearer {supplier()}"

    return authorize


def _tls(settings: BrokerSettings) -> ssl.SSLContext:
    if not settings.pulsar_admin_url.startswith("https"):
        return _context(None, 0, True)
    path = settings.pulsar_tls_trust_certs_file
    try:
        changed_ns = os.stat(path).st_mtime_ns if path is not None else 0
        return _context(path, changed_ns, settings.pulsar_tls_validate_hostname)
    except OSError as error:
        raise BrokerError(
            f"cannot read the trusted certificates from {path!r} "
            f"(JOBTRAIL_PULSAR_TLS_TRUST_CERTS_FILE): {error}."
        ) from error


@lru_cache(maxsize=1)
def _context(path: str | None, changed_ns: int, validate_hostname: bool) -> ssl.SSLContext:
    """One for all that is asked, until the file of the trusted certificates changes.

    Each takes most of a megabyte, and httpx leaves it in a reference cycle, for which a consumer looks rarely.
    """
    context = ssl.create_default_context(cafile=path)
    context.check_hostname = validate_hostname
    return context


def _reason(response: httpx.Response) -> str:
    try:
        reason = str(response.json()["reason"]).strip()
    except (ValueError, KeyError, TypeError):
        reason = response.reason_phrase  # the text is a page of HTML
    # What the broker says of a refused schema holds both schemas, hundreds of lines.
    reason = " ".join(reason.split())[:400]
    if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return (
            f"{reason} ({response.status_code}). Give JOBTRAIL_PULSAR_TOKEN (or _TOKEN_FILE) of a role that "
            "administers the tenant; to create the tenant, a superuser's."
        )
    return f"{reason} ({response.status_code})"
