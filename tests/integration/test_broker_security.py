"""TLS and tokens, with a real broker that checks them."""

import base64
import hashlib
import hmac
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.client import connect, subscribe
from broker.provision import run
from schemas.errors import BrokerError
from servers.errors import ServerUnavailableError
from servers.ports import free_ports
from servers.pulsar import PulsarServer
from servers.pulsar_jars import java_problem
from settings.provision import ProvisionSettings
from testing.topics import own_topic

SECRET = b"a secret of thirty-two bytes, ok"
STORE_PASSWORD = "changeit"


class SecurePulsar(PulsarServer):
    """A broker with plain ports, and TLS ports with a self-signed certificate for 127.0.0.1. It refuses a wrong token."""

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        self._folder = data
        self.tls_port, self.tls_web_port = free_ports(2)
        self.certificate = data / "broker.pem"
        (data / "secret.key").write_bytes(SECRET)
        store = ("-keystore", str(data / "broker.p12"), "-storetype", "PKCS12", "-storepass", STORE_PASSWORD)
        # keytool comes with Java, which the broker needs anyway.
        for command in (
            [
                "-genkeypair",
                "-keyalg",
                "RSA",
                "-validity",
                "2",
                "-dname",
                "CN=broker",
                "-ext",
                "san=ip:127.0.0.1",
            ],
            ["-exportcert", "-rfc", "-file", str(self.certificate)],
        ):
            subprocess.run(["keytool", *command, "-alias", "broker", *store], check=True, capture_output=True)

    def _settings(self) -> str:
        more = {
            "brokerServicePortTls": self.tls_port,
            "webServicePortTls": self.tls_web_port,
            "tlsEnabledWithKeyStore": "true",
            "tlsKeyStoreType": "PKCS12",
            "tlsKeyStore": self._folder / "broker.p12",
            "tlsKeyStorePassword": STORE_PASSWORD,
            "tlsTrustStoreType": "PKCS12",
            "tlsTrustStore": self._folder / "broker.p12",
            "tlsTrustStorePassword": STORE_PASSWORD,
            "authenticationEnabled": "true",
            "authenticationProviders": "org.apache.pulsar.broker.authentication.AuthenticationProviderToken",
            "tokenSecretKey": (self._folder / "secret.key").as_uri(),
            "anonymousUserRole": "anonymous",  # the broker's own clients, and the wait for its start
        }
        return super()._settings() + "".join(f"{name}={value}\n" for name, value in more.items())


def token(role: str) -> str:
    """Return a JWT that the broker accepts (HS256)."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    signed = f"{part(json.dumps({'alg': 'HS256'}).encode())}.{part(json.dumps({'sub': role}).encode())}"
    return f"{signed}.{part(hmac.digest(SECRET, signed.encode(), hashlib.sha256))}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecurePulsar]:
    problem = java_problem()
    if problem:
        raise ServerUnavailableError(problem)
    server = SecurePulsar(tmp_path_factory.mktemp("secure-pulsar"))
    with server:
        yield server


@pytest.fixture
def settings(server: SecurePulsar, tmp_path: Path) -> ProvisionSettings:
    """Return correct settings: the certificate trusted, the host's name checked, a good token in a file."""
    (tmp_path / "token").write_text(token("jobtrail"))
    return own_topic(
        server,
        pulsar_url=f"pulsar+ssl://127.0.0.1:{server.tls_port}",
        pulsar_admin_url=f"https://127.0.0.1:{server.tls_web_port}",
        pulsar_tls_trust_certs_file=str(server.certificate),
        pulsar_token_file=str(tmp_path / "token"),
        pulsar_operation_timeout_seconds=10,
    )


def subscribed(settings: ProvisionSettings) -> bool:
    client = connect(settings)
    try:
        consumer = subscribe(
            client,
            settings,
            "aggregator",
            batch_messages=1,
            batch_bytes=-1,
            batch_wait_seconds=1,
            receiver_queue=1,
        )
        connected: bool = consumer.is_connected()
        return connected
    finally:
        client.close()


def test_provisioning_and_consuming_work_over_tls_with_a_token(settings: ProvisionSettings) -> None:
    """The same settings work for the broker's protocol and its admin REST."""
    assert run(settings, check=False)
    assert subscribed(settings)


def test_a_wrong_token_is_refused(settings: ProvisionSettings) -> None:
    """The error names the setting to correct, and shows no token. (Over REST, this broker treats us as anonymous.)"""
    wrong = token("jobtrail")[:-4] + "AAAA"
    assert settings.pulsar_token_file is not None
    Path(settings.pulsar_token_file).write_text(wrong)
    with pytest.raises(BrokerError, match="JOBTRAIL_PULSAR_TOKEN_FILE") as raised:
        subscribed(settings.model_copy(update={"pulsar_operation_timeout_seconds": 3}))
    assert wrong not in str(raised.value)


def test_an_untrusted_certificate_is_refused_by_both(settings: ProvisionSettings) -> None:
    """Without the setting, only public authorities are trusted."""
    stranger = settings.model_copy(update={"pulsar_tls_trust_certs_file": None})
    with pytest.raises(BrokerError, match="JOBTRAIL_PULSAR_TLS_TRUST_CERTS_FILE"):
        run(stranger, check=True)
    with pytest.raises(BrokerError, match="JOBTRAIL_PULSAR_TLS_TRUST_CERTS_FILE"):
        subscribed(stranger.model_copy(update={"pulsar_operation_timeout_seconds": 3}))


def test_a_certificate_of_another_host_is_refused_by_both_unless_the_setting_allows_it(
    settings: ProvisionSettings,
) -> None:
    """`localhost` reaches the same broker, but the certificate is for 127.0.0.1. The library's default would accept it."""
    run(settings, check=False)
    other = settings.model_copy(
        update={
            "pulsar_url": settings.pulsar_url.replace("127.0.0.1", "localhost"),
            "pulsar_admin_url": settings.pulsar_admin_url.replace("127.0.0.1", "localhost"),
            "pulsar_operation_timeout_seconds": 5,
        }
    )
    with pytest.raises(BrokerError, match="Hostname mismatch"):
        run(other, check=True)
    with pytest.raises(BrokerError, match="the broker's certificate is not for the host 'localhost'"):
        subscribed(other)
    careless = other.model_copy(update={"pulsar_tls_validate_hostname": False})
    assert run(careless, check=True) == []
    assert subscribed(careless)


def test_a_plain_address_with_a_tls_port_is_recognised(settings: ProvisionSettings) -> None:
    plain = settings.model_copy(
        update={
            "pulsar_url": settings.pulsar_url.replace("pulsar+ssl", "pulsar"),
            "pulsar_admin_url": settings.pulsar_admin_url.replace("https", "http"),
            "pulsar_operation_timeout_seconds": 3,
        }
    )
    with pytest.raises(
        BrokerError, match=r"accepts only TLS\. Begin JOBTRAIL_PULSAR_URL with pulsar\+ssl://"
    ):
        subscribed(plain)
    with pytest.raises(
        BrokerError, match=r"accepts only TLS\. Begin JOBTRAIL_PULSAR_ADMIN_URL with https://"
    ):
        run(plain, check=True)


def test_a_missing_trust_file_is_named(settings: ProvisionSettings) -> None:
    """The library alone would report an authentication error."""
    lost = settings.model_copy(update={"pulsar_tls_trust_certs_file": "/nowhere/ca.pem"})
    for attempt in (lambda: subscribed(lost), lambda: run(lost, check=True)):
        with pytest.raises(
            BrokerError, match=r"cannot read the trusted certificates from '/nowhere/ca\.pem'"
        ):
            attempt()
