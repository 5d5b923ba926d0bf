"""Settings of the connection to the broker, and the topic of the events."""

from typing import Literal

from pydantic import Field, SecretStr

from settings.base import Settings


class BrokerSettings(Settings):
    """Apache Pulsar: addresses, topic, TLS and token."""

    pulsar_url: str = Field(
        "pulsar://127.0.0.1:6650",
        pattern=r"^pulsar(\+ssl)?://",
        examples=["pulsar://HOST:6650", "pulsar+ssl://HOST:6651"],
        description="service URL",
    )
    pulsar_admin_url: str = Field(
        "http://127.0.0.1:8080",
        pattern=r"^https?://",
        examples=["http://HOST:8080", "https://HOST:8443"],
        description="admin REST URL",
    )
    topic: str = Field(
        "persistent://jobtrail/lifecycle/job-events",
        pattern=r"^persistent://[^/]+/[^/]+/[^/]+$",
        examples=["persistent://TENANT/NAMESPACE/TOPIC"],
        description="the topic of the events, partitioned by job",
    )
    pulsar_token: SecretStr | None = Field(None, description="token for authentication (a JWT)")
    pulsar_token_file: str | None = Field(None, description="file with the token; read at every connection")
    pulsar_tls_trust_certs_file: str | None = Field(
        None, description="PEM file of the certificate authorities to trust"
    )
    pulsar_tls_validate_hostname: bool = Field(
        True, description="check that the certificate belongs to the host"
    )
    schema_registry: Literal["broker", "bundled"] = Field(
        "broker",
        description="where a message's schema comes from; use `bundled` only with brokers that have no registry (pulsar-lite)",
    )
    pulsar_operation_timeout_seconds: int = Field(
        30, ge=1, le=600, description="limit of one operation of the broker"
    )
