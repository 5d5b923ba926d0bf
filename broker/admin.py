"""Sends requests to Pulsar's admin REST, with the token and TLS of the settings.

``provision``, ``backlog`` and ``topic_log`` define the requests.
"""

import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import httpx

from broker.client import token_supplier
from broker.reach import Cause, addresses, connection_cause, speaks_tls
from schemas.errors import BrokerAwayError, BrokerError
from schemas.redaction import shown_url
from settings.broker import BrokerSettings

_API = "/admin/v2"
_STARTING = (
    httpx.codes.BAD_GATEWAY,
    httpx.codes.SERVICE_UNAVAILABLE,
    httpx.codes.GATEWAY_TIMEOUT,
)


class Admin:
    """An open connection to the admin REST of one broker. Make it with ``admin``."""

    def __init__(self, http: httpx.Client, settings: BrokerSettings) -> None:
        self._http = http
        self._settings = settings
        self._url = settings.pulsar_admin_url.rstrip("/")

    def get(self, path: str) -> Any:
        """Return the JSON at a path; None if it does not exist (404) or a policy is not set (an empty answer)."""
        response = self._request("GET", path)
        if not response.content:
            return None
        try:
            answer = response.json()
        except ValueError:
            answer = None
        is_json = answer is not None or response.content.strip() == b"null"
        if response.status_code == httpx.codes.NOT_FOUND:
            if not (isinstance(answer, dict) and "reason" in answer):
                raise self._not_pulsar(response)
            return None
        if not is_json:
            raise self._not_pulsar(response)
        return answer

    def put(self, path: str, body: Any) -> None:
        """Create or set something. It may exist already (409), because two processes may provision at the same time."""
        self._request("PUT", path, body, fine=(httpx.codes.CONFLICT,))

    def post(self, path: str, body: Any) -> None:
        """Set or update something."""
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
            cause = self._cause(error)
            kind = BrokerAwayError if cause.passes else BrokerError
            raise kind(
                f"no answer from the broker's admin REST ({where}): {cause.why}. {cause.cure}."
            ) from error
        if response.is_success or response.status_code in fine:
            return response
        if response.status_code in _STARTING:
            raise BrokerAwayError(
                f"the broker does not answer yet ({where}): {_reason(response)}. It is starting, or a proxy does not reach it: "
                "try again in a moment."
            )
        raise BrokerError(f"the broker refused {where}: {_reason(response)}")

    def _cause(self, error: httpx.HTTPError) -> Cause:
        """Return why there was no answer."""
        url = httpx.URL(self._url)
        port = url.port or (443 if url.scheme == "https" else 80)
        where = (
            "Correct JOBTRAIL_PULSAR_ADMIN_URL: the admin REST is at port 8080 as a rule, with TLS at 8443"
        )
        if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout | httpx.PoolTimeout):
            return Cause(
                "it accepted the connection, but did not answer in time",
                "The broker is starting or overloaded: look at its log, or raise JOBTRAIL_PULSAR_OPERATION_TIMEOUT_SECONDS",
                passes=True,
            )
        found = connection_cause(error, url.host, port)
        if found is not None:
            return found._replace(
                cure=f"{found.cure} in JOBTRAIL_PULSAR_ADMIN_URL" if found.passes else found.cure
            )
        if (url.host, port) in addresses(self._settings.pulsar_url):
            return Cause(f"{url.host}:{port} is the broker's own port, which does not speak HTTP", where)
        if url.scheme == "http" and speaks_tls(url.host, port):
            return Cause(
                "what listens there accepts only TLS", "Begin JOBTRAIL_PULSAR_ADMIN_URL with https:// there"
            )
        if url.scheme == "https":
            return Cause(f"what listens at {url.host}:{port} does not speak TLS", where)
        return Cause(
            "the connection was closed without an answer",
            f"A broker that is starting or stopping does that. If it continues: {where[0].lower()}{where[1:]}",
            passes=True,
        )

    def _not_pulsar(self, response: httpx.Response) -> BrokerError:
        return BrokerError(
            f"what answers at {shown_url(str(response.url))} is not Pulsar's admin REST (status {response.status_code}, not its "
            "JSON). Correct JOBTRAIL_PULSAR_ADMIN_URL to http://host:8080, without a path. A broker without admin REST "
            "(pulsar-lite) cannot be provisioned, and needs no provisioning."
        )


@contextmanager
def admin(settings: BrokerSettings, timeout_seconds: float | None = None) -> Iterator[Admin]:
    """Open the admin REST that the settings name, with their token and TLS. Raises BrokerError.

    ``timeout_seconds`` limits one request; the default is the limit of one operation in the settings.
    """
    supplier = token_supplier(settings)
    home = _home(settings)
    with httpx.Client(
        base_url=home,
        event_hooks={"request": [] if supplier is None else [_authorizing(supplier, settings, home)]},
        verify=_tls(settings),
        timeout=timeout_seconds or settings.pulsar_operation_timeout_seconds,
        follow_redirects=True,  # a broker redirects to the one that owns the namespace
    ) as http:
        yield Admin(http, settings)


def _home(settings: BrokerSettings) -> httpx.URL:
    """Return the address of the admin REST. Raises BrokerError without httpx's message, which contains the password."""
    try:
        url = httpx.URL(settings.pulsar_admin_url.rstrip("/"))
    except httpx.InvalidURL:
        url = None
    # If a password contains an unescaped / or ?, httpx takes its end for the path or the query.
    if url is None or not url.host or (url.port or 0) > 65_535 or b"@" in url.raw_path or "@" in url.fragment:
        raise BrokerError(
            f"JOBTRAIL_PULSAR_ADMIN_URL cannot be used ({shown_url(settings.pulsar_admin_url)}): expected "
            "http://host:8080 or https://host:8443; escape reserved characters in user and password with %XX."
        )
    return url


def _authorizing(
    supplier: Callable[[], str], settings: BrokerSettings, home: httpx.URL
) -> Callable[[httpx.Request], None]:
    """Return a function that adds the token to a request. httpx calls it for every request, redirected ones included.

    In a cluster, a broker redirects to the one that owns the namespace, and that one wants the token as well; httpx
    drops the header when the host changes. We cannot know which hosts are brokers. But the redirect comes from a broker
    that already has the token, so passing it on reveals nothing new, under two conditions: never from https to http,
    where the network could read it; and only to a path of the admin REST, so that the login page of a proxy does not
    get it. Otherwise the request is not sent: without the token it would be refused for a misleading reason.
    """

    def authorize(request: httpx.Request) -> None:
        url = request.url
        is_home = (url.scheme, url.host, url.port) == (home.scheme, home.host, home.port)
        safe = url.scheme == "https" or home.scheme == "http"
        if not is_home and not (safe and url.path.startswith(f"{_API}/")):
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
    """Return one context for all requests, until the file of the trusted certificates changes.

    A context takes most of a megabyte, and httpx leaves it in a reference cycle, which a consumer collects rarely.
    """
    context = ssl.create_default_context(cafile=path)
    context.check_hostname = validate_hostname
    return context


def _reason(response: httpx.Response) -> str:
    try:
        reason = str(response.json()["reason"]).strip()
    except (ValueError, KeyError, TypeError):
        reason = response.reason_phrase  # the body is an HTML page
    # When a schema is refused, the reason contains both schemas: hundreds of lines.
    reason = " ".join(reason.split())[:400]
    if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return (
            f"{reason} ({response.status_code}). Give JOBTRAIL_PULSAR_TOKEN (or _TOKEN_FILE) of a role that "
            "administers the tenant; to create the tenant, a superuser's."
        )
    return f"{reason} ({response.status_code})"
