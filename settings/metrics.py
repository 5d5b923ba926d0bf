"""Settings of the metrics consumer: the size of its batches, its windows, and how many series it may show."""

from pydantic import Field, field_validator

from settings.consumer import ConsumerSettings, Subscription
from settings.service import ServiceSettings

_UNIT_SECONDS = {"m": 60, "h": 60 * 60, "d": 24 * 60 * 60}
_LONGEST_SECONDS = 7 * 24 * 60 * 60


class MetricsSettings(ConsumerSettings, ServiceSettings):
    """All settings of `jobtrail metrics`."""

    metrics_port: int = Field(
        9465, ge=0, le=65535, description="port of /healthz, /readyz and /metrics; 0 = any free port"
    )
    metrics_subscription: str = Field("metrics", min_length=1, description="name of the subscription")
    metrics_batch_events: int = Field(10_000, ge=1, le=50_000, description="most events counted at once")
    metrics_batch_bytes: int = Field(
        32 * 1024 * 1024,
        ge=1024,
        le=1024 * 1024 * 1024,
        description="most bytes of payload counted at once",
    )
    metrics_batch_wait_seconds: float = Field(
        0.1, gt=0, le=10, description="longest wait for a batch to fill"
    )
    metrics_receiver_queue: int = Field(
        40_000,
        ge=1,
        le=200_000,
        description="messages fetched ahead; keep it below the broker's limits on unacknowledged messages",
    )
    metrics_receiver_queue_bytes: int = Field(
        128 * 1024 * 1024,
        ge=1024 * 1024,
        le=16 * 1024 * 1024 * 1024,
        description="most bytes fetched ahead, estimated from the mean size of recent messages; never fewer than 64 messages",
    )
    metrics_retry_longest_seconds: float = Field(
        5,
        gt=0,
        le=300,
        description="longest pause between two attempts to reach a broker that does not answer",
    )
    metrics_windows: tuple[str, ...] = Field(
        ("5m", "1h", "24h"),
        min_length=1,
        max_length=6,
        description="windows of the success counts: whole minutes, hours or days, at most 7d",
    )
    metrics_clock_tolerance_seconds: float = Field(
        60,
        ge=0,
        le=3600,
        description="how far a publisher's clock may be ahead of ours; events from farther ahead are in no window",
    )
    metrics_label_characters: int = Field(
        120, ge=8, le=1_000, description="longest label value; longer ones are cut"
    )
    metrics_namespaces: int = Field(50, ge=1, le=1_000, description="most values of the label namespace")
    metrics_sources: int = Field(200, ge=1, le=10_000, description="most values of the label source")
    metrics_workers: int = Field(500, ge=1, le=10_000, description="most values of the label worker")
    metrics_queues: int = Field(100, ge=1, le=10_000, description="most values of the label queue")
    metrics_categories: int = Field(100, ge=1, le=10_000, description="most values of the label category")
    metrics_counter_sets: int = Field(
        5_000,
        ge=1,
        le=100_000,
        description="most sets of labels of one counter; further sets are counted as `other`",
    )
    metrics_histogram_sets: int = Field(
        500, ge=1, le=10_000, description="most sets of labels of one histogram; each set is 17 series"
    )
    metrics_window_sets: int = Field(
        500,
        ge=1,
        le=10_000,
        description="most pairs of namespace and source with windows; each pair is 18 series",
    )

    @property
    def subscription(self) -> Subscription:
        """How this service reads its subscription."""
        return Subscription(
            self.metrics_subscription,
            self.metrics_batch_events,
            self.metrics_batch_bytes,
            self.metrics_batch_wait_seconds,
            self.metrics_receiver_queue,
            self.metrics_receiver_queue_bytes,
            self.metrics_retry_longest_seconds,
        )

    @field_validator("metrics_windows")
    @classmethod
    def _are_durations(cls, windows: tuple[str, ...]) -> tuple[str, ...]:
        for name in windows:
            if not 1 <= window_seconds(name) <= _LONGEST_SECONDS:
                raise ValueError(
                    f"expected windows such as 5m, 1h or 24h (whole minutes, hours, days; at most 7d), got {name!r}"
                )
        if len(set(windows)) < len(windows):
            raise ValueError(f"expected each window once, got {', '.join(windows)}")
        return windows


def window_seconds(name: str) -> int:
    """Return the length of a window in seconds by its name; 0 if the name is not a window's."""
    number, unit = name[:-1], name[-1:]
    if not (number.isascii() and number.isdecimal()):
        return 0
    return int(number) * _UNIT_SECONDS.get(unit, 0)
