"""Send events through the SDK without losing any: wait before its queue overflows, and count what is acknowledged.

The SDK never makes a job wait: it drops and counts the events that its queue cannot hold. An import can wait, so it
lets the queue drain before it is full.
"""

from typing import Any

import jobtrail
from schemas.errors import BrokerError
from schemas.redaction import shown_url
from settings.broker import BrokerSettings

# The SDK's queue holds 10,000 events or 16 MiB. An event weighs 10 and each id in its depends_on 1, so at most 1,000
# events, or 10,000 ids of 500 bytes, are unacknowledged.
_WEIGHT_OF_EVENT = 10
_MOST_WEIGHT = 10_000


class Sending:
    """The SDK, configured for one broker, with a count of the events sent and acknowledged."""

    def __init__(self, broker: BrokerSettings, namespace: str, acknowledged_within_seconds: float) -> None:
        jobtrail.configure(
            namespace=namespace,
            pulsar_url=broker.pulsar_url,
            topic=broker.topic,
            pulsar_token=broker.pulsar_token.get_secret_value() if broker.pulsar_token else None,
            pulsar_token_file=broker.pulsar_token_file,
            pulsar_tls_trust_certs_file=broker.pulsar_tls_trust_certs_file,
            pulsar_tls_validate_hostname=broker.pulsar_tls_validate_hostname,
            enabled=True,
            spool=False,  # an import that fails is made again, as another run: nothing of it must be sent later
        )
        self._where = f"{broker.topic} at {shown_url(broker.pulsar_url)}"
        self._within_seconds = acknowledged_within_seconds
        self._acknowledged_before = jobtrail.stats().sent
        self._given = 0
        self._weight = 0

    def send(self, fields: dict[str, Any]) -> None:
        """Send one event. Waits first when many are unacknowledged. Raises BrokerError when they stay so."""
        weight = _WEIGHT_OF_EVENT + len(fields.get("depends_on", ()))
        if self._weight + weight > _MOST_WEIGHT:
            self.finish("the import so far")
            self._weight = 0
        jobtrail.event(strict=True, **fields)
        self._given += 1
        self._weight += weight

    def finish(self, what: str) -> None:
        """Wait until the broker has acknowledged every event. Raises BrokerError, which says how many it has not."""
        jobtrail.flush(self._within_seconds)
        stats = jobtrail.stats()
        missing = self._given - (stats.sent - self._acknowledged_before)
        if missing > 0:
            dropped = ", ".join(f"{reason} {count}" for reason, count in sorted(stats.dropped.items()))
            raise BrokerError(
                f"{what}: {missing} of {self._given} events were not acknowledged by {self._where} "
                f"within {self._within_seconds:g} s{f' (dropped: {dropped})' if dropped else ''}. "
                "Is the broker running, is JOBTRAIL_PULSAR_URL its address, and may you produce there? Then import again."
            )
