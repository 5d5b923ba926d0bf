"""Which redirects of a cluster's brokers get the token, and how much memory repeated requests take."""

import contextlib
import gc
import shutil
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import certifi
import httpx
import pytest

from broker.admin import _authorizing, admin
from schemas.errors import BrokerError
from settings.broker import BrokerSettings


class Broker(ThreadingHTTPServer):
    """Answers with JSON or redirects to another address; remembers the tokens it got."""

    def __init__(self, sends_to: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.sends_to = sends_to
        self.asked: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Broker

    def do_GET(self) -> None:
        self.server.asked.append(self.headers.get("Authorization"))
        self.send_response(307 if self.server.sends_to else 200)
        if self.server.sends_to:
            self.send_header("Location", self.server.sends_to)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextlib.contextmanager
def running(broker: Broker) -> Iterator[Broker]:
    thread = threading.Thread(target=broker.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield broker
    finally:
        broker.shutdown()
        thread.join()
        broker.server_close()


def test_the_broker_that_owns_the_namespace_gets_the_token_too() -> None:
    """A cluster redirects to that broker, which would refuse us without the token."""
    with running(Broker()) as owner, running(Broker(f"{owner.url}/admin/v2/clusters")) as first:
        settings = BrokerSettings.load(pulsar_admin_url=first.url, pulsar_token="secret")
        with admin(settings) as broker:
            assert broker.get("/clusters") == []
        assert first.asked == owner.asked == ["Bearer secret"]


def test_a_redirect_to_anything_but_an_admin_rest_does_not_get_the_token() -> None:
    """For example a proxy's login page; the error names the address."""
    with running(Broker()) as login, running(Broker(f"{login.url}/login?next=x")) as first:
        settings = BrokerSettings.load(pulsar_admin_url=first.url, pulsar_token="secret")
        with (
            pytest.raises(BrokerError, match=rf"redirects to {login.url}/login, to which") as raised,
            admin(settings) as broker,
        ):
            broker.get("/clusters")
        assert login.asked == []
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://broker-1:8443/admin/v2/clusters", True),
        ("https://broker-2:8443/admin/v2/clusters", True),
        ("http://broker-1:8443/admin/v2/clusters", False),
        ("http://broker-2:8080/admin/v2/clusters", False),
    ],
)
def test_the_token_never_goes_from_https_to_http(url: str, sent: bool) -> None:
    """Over plain HTTP, anyone on the network could read it."""
    settings = BrokerSettings.load(pulsar_admin_url="https://broker-1:8443", pulsar_token="secret")
    request = httpx.Request("GET", url)
    with contextlib.nullcontext() if sent else pytest.raises(BrokerError, match="over https"):
        _authorizing(lambda: "secret", settings, httpx.URL(settings.pulsar_admin_url))(request)
    assert ("Authorization" in request.headers) is sent


def test_repeated_requests_hold_the_trusted_certificates_once() -> None:
    """The watchdog asks as long as the process lives, and Python rarely collects reference cycles in a consumer."""

    def contexts() -> int:
        return sum(isinstance(one, ssl.SSLContext) for one in gc.get_objects())

    with running(Broker()) as alone:
        settings = BrokerSettings.load(pulsar_admin_url=alone.url)
        gc.collect()
        gc.disable()
        try:
            before = contexts()
            for _ in range(5):
                with admin(settings) as broker:
                    broker.get("/clusters")
            assert contexts() <= before + 1
        finally:
            gc.enable()


def test_trusted_certificates_that_were_replaced_are_read_again(tmp_path: Path) -> None:
    """The running process reads the new file; here it contains no certificate, which is an error."""
    trusted = tmp_path / "ca.pem"
    shutil.copyfile(certifi.where(), trusted)
    settings = BrokerSettings.load(
        pulsar_admin_url="https://broker-1:8443", pulsar_tls_trust_certs_file=str(trusted)
    )
    with admin(settings):
        pass
    trusted.write_text("no certificate")
    with pytest.raises(BrokerError, match="cannot read the trusted certificates"), admin(settings):
        pass


@pytest.mark.parametrize(
    "url",
    [
        "http://app:hun/ter2@broker:8080",
        "http://app:12/ter2@broker:8080",
        "https://app:12?ter2@broker",
        "https://app:12#ter2@broker",
    ],
)
def test_invalid_address_is_refused_without_its_password(url: str) -> None:
    """httpx would quote half of the password as an invalid port, or send the request to a host with the user's name."""
    settings = BrokerSettings.load(pulsar_admin_url=url)
    with (
        pytest.raises(BrokerError, match="JOBTRAIL_PULSAR_ADMIN_URL cannot be used") as raised,
        admin(settings) as broker,
    ):
        broker.get("/clusters")
    assert "hun" not in str(raised.value)
    assert "ter2" not in str(raised.value)
