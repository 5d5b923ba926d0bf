"""Sets up the broker before the first event: tenant, Pulsar namespace, policies, topic, schema, subscriptions.

Each step reads what the broker has and can correct it; `--check` only reads. The order of the steps is safe: on a new
broker nothing can be produced before the policies are set. A producer may publish between the creation of the topic and of
its subscriptions: these start at the earliest event, which retention keeps.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

from broker.admin import Admin, admin
from schemas.errors import BrokerAwayError, BrokerError
from schemas.evolution import released
from settings.provision import ProvisionSettings

_EARLIEST = {"ledgerId": -1, "entryId": -1}
_MINUTES_A_DAY = 24 * 60


class Difference(NamedTuple):
    """Something on the broker that differs from the settings."""

    what: str
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.what}: expected {self.expected}, got {self.got}"


class _Step(NamedTuple):
    what: str
    expected: Any
    read: Callable[[], Any]
    write: Callable[[], None]


def run(
    settings: ProvisionSettings, check: bool, changed: list[Difference] | None = None
) -> list[Difference]:
    """Run `jobtrail provision [--check]`: return the differences, and correct them unless ``check`` is set.

    The list is empty if the broker agrees with the settings. ``changed`` is extended as changes are made, so that a run that
    resumes another one reports the changes of both. Raises BrokerError.
    """
    with admin(settings) as broker:
        return plan(broker, settings) if check else apply(broker, settings, changed)


def plan(broker: Admin, settings: ProvisionSettings) -> list[Difference]:
    """Compare the broker with the settings without changing anything. Raises BrokerError."""
    return [found for step in _steps(broker, settings) if (found := _difference(step)) is not None]


def apply(
    broker: Admin, settings: ProvisionSettings, changed: list[Difference] | None = None
) -> list[Difference]:
    """Correct the differences in order, and return them. A repetition changes nothing. Raises BrokerError."""
    changed = [] if changed is None else changed
    for step in _steps(broker, settings):
        found = _difference(step)
        if found is not None:
            step.write()
            changed.append(found)
    left = plan(broker, settings)
    if left:
        raise BrokerError(
            f"the broker accepted every setting but does not show it: {'; '.join(map(str, left))}. Does another process "
            "set the same policies? Run `jobtrail provision --check` again in a moment."
        )
    return changed


def _difference(step: _Step) -> Difference | None:
    got = step.read()
    return None if got == step.expected else Difference(step.what, _said(step.expected), _said(got))


def _said(value: Any) -> str:
    if value is None:
        return "nothing"
    return value if isinstance(value, str) else json.dumps(value)


def _steps(broker: Admin, settings: ProvisionSettings) -> list[_Step]:
    if settings.schema_registry == "bundled":
        raise BrokerError(
            "JOBTRAIL_SCHEMA_REGISTRY is `bundled`: that is for a broker without registry and admin REST "
            "(pulsar-lite), on which there is nothing to provision. Unset it for a real Pulsar."
        )
    tenant, namespace, topic = settings.topic.removeprefix("persistent://").split("/")
    places = _Places(
        tenant=f"/tenants/{quote(tenant, safe='')}",
        namespace=f"/namespaces/{quote(tenant, safe='')}/{quote(namespace, safe='')}",
        topic=f"/persistent/{quote(tenant, safe='')}/{quote(namespace, safe='')}/{quote(topic, safe='')}",
        schema=f"/schemas/{quote(tenant, safe='')}/{quote(namespace, safe='')}/{quote(topic, safe='')}",
    )
    return [
        _tenant(broker, places, tenant),
        _namespace(broker, places, f"{tenant}/{namespace}"),
        *_policies(broker, places, settings),
        *_schemas(broker, places),
        _partitions(broker, places, settings),
        *(_subscription(broker, places, settings, name) for name in settings.provision_subscriptions),
    ]


class _Places(NamedTuple):
    tenant: str
    namespace: str
    topic: str
    schema: str


def _tenant(broker: Admin, places: _Places, name: str) -> _Step:
    def read() -> str | None:
        # Only a superuser may read tenants; a role that may read the namespace need not be one.
        there = broker.get(places.namespace) is not None or broker.get(places.tenant) is not None
        return "there" if there else None

    def write() -> None:
        clusters = [cluster for cluster in broker.get("/clusters") or [] if cluster != "global"]
        if not clusters:
            raise BrokerAwayError("the broker has no cluster yet: it is starting. Try again in a moment.")
        broker.put(places.tenant, {"allowedClusters": clusters, "adminRoles": []})

    return _Step(f"tenant {name}", "there", read, write)


def _namespace(broker: Admin, places: _Places, name: str) -> _Step:
    return _Step(
        f"Pulsar namespace {name}",
        "there",
        lambda: None if broker.get(places.namespace) is None else "there",
        # Created without automatic topics, so that no producer can publish before the policies hold.
        lambda: broker.put(
            places.namespace, {"autoTopicCreationOverride": {"allowAutoTopicCreation": False}}
        ),
    )


def _policies(broker: Admin, places: _Places, settings: ProvisionSettings) -> list[_Step]:
    days = settings.provision_retention_days
    wanted: list[tuple[str, str, Any]] = [
        # The tables are derived from the log, and a rebuild reads the log from its start.
        (
            "post",
            "retention",
            {"retentionTimeInMinutes": -1 if days < 0 else days * _MINUTES_A_DAY, "retentionSizeInMB": -1},
        ),
        # However far behind a consumer is, nothing may acknowledge, compact or expire its messages.
        ("post", "messageTTL", 0),
        ("put", "compactionThreshold", 0),
        ("post", "subscriptionExpirationTime", 0),
        # Off, because a duplicate changes nothing in the tables. But if a publisher restarts under its old name with sequence
        # numbers from 0, the broker would drop its events silently.
        ("post", "deduplication", False),
        # The broker accepts a new enum symbol; schemas/evolution.py is stricter.
        ("put", "schemaCompatibilityStrategy", "FULL_TRANSITIVE"),
        ("post", "schemaValidationEnforced", True),
        # On by default: the Avro libraries of other languages write the same record with another schema (without defaults
        # or logical types, with their own properties), and each must be able to register the schema it writes with.
        ("post", "isAllowAutoUpdateSchema", settings.provision_schema_auto_update),
        ("post", "maxUnackedMessagesPerConsumer", settings.provision_max_unacked_per_consumer),
        ("post", "maxUnackedMessagesPerSubscription", settings.provision_max_unacked_per_subscription),
        # A consumer that reconnects must not create a deleted topic again without its partitions.
        ("post", "autoTopicCreation", {"allowAutoTopicCreation": False}),
        (
            "post",
            "inactiveTopicPolicies",
            {
                "inactiveTopicDeleteMode": "delete_when_no_subscriptions",
                "maxInactiveDurationSeconds": 60,
                "deleteWhileInactive": False,
            },
        ),
    ]
    return [
        *(_policy(broker, places.namespace, method, name, value) for method, name, value in wanted),
        _backlog_quota(broker, places.namespace),
    ]


def _policy(broker: Admin, namespace: str, method: str, name: str, value: Any) -> _Step:
    path = f"{namespace}/{name}"
    write = broker.put if method == "put" else broker.post
    return _Step(name, value, lambda: broker.get(path), lambda: write(path, value))


def _backlog_quota(broker: Admin, namespace: str) -> _Step:
    """Let the backlog grow without bound: the policy that evicts it would lose events."""
    wanted = {"limitSize": -1, "limitTime": -1, "policy": "producer_request_hold"}

    def read() -> dict[str, Any] | None:
        quota = (broker.get(f"{namespace}/backlogQuotaMap") or {}).get("destination_storage")
        return None if quota is None else {name: quota.get(name) for name in wanted}

    return _Step("backlogQuota", wanted, read, lambda: broker.post(f"{namespace}/backlogQuota", wanted))


def _schemas(broker: Admin, places: _Places) -> list[_Step]:
    """Register every released schema, oldest first, so that the broker checks producers against all of them."""

    def step(number: int, text: str) -> _Step:
        def read() -> str | None:
            stored = (broker.get(f"{places.schema}/schemas") or {}).get("getSchemaResponses", [])
            known = [json.loads(one["data"]) for one in stored if one["type"] == "AVRO"]
            return "registered" if json.loads(text) in known else None

        def write() -> None:
            broker.post(f"{places.schema}/schema", {"type": "AVRO", "schema": text, "properties": {}})

        return _Step(f"schema {number:04}.avsc", "registered", read, write)

    return [step(number, text) for number, text in released().items()]


def _partitions(broker: Admin, places: _Places, settings: ProvisionSettings) -> _Step:
    path = f"{places.topic}/partitions"
    wanted = settings.provision_partitions

    def count() -> int | None:
        found = broker.get(path)
        return None if found is None else int(found["partitions"])

    def read() -> int | str | None:
        found = count()
        if found == 0:
            return "a topic without partitions"
        return (
            wanted if found is not None and found > wanted else found
        )  # more than wanted is fine: the number never shrinks

    def write() -> None:
        found = count()
        if found is None:
            broker.put(path, wanted)
        elif found == 0:
            raise BrokerError(
                f"{settings.topic} is a topic without partitions, which the broker cannot change. Set JOBTRAIL_TOPIC "
                "to a new name, or drain and delete the topic (`pulsar-admin topics delete`) and provision again."
            )
        else:
            broker.post(path, wanted)

    return _Step(f"partitions of {settings.topic}", wanted, read, write)


def _subscription(broker: Admin, places: _Places, settings: ProvisionSettings, name: str) -> _Step:
    def missing() -> list[int] | None:
        found = broker.get(f"{places.topic}/partitions")
        if found is None:
            return None
        numbers = range(int(found["partitions"]))
        return [
            i
            for i in numbers
            if name not in (broker.get(f"{places.topic}-partition-{i}/subscriptions") or [])
        ]

    def read() -> str | None:
        partitions = missing()
        if partitions is None:
            return None
        return "on every partition" if not partitions else f"missing on partitions {partitions}"

    def write() -> None:
        for i in missing() or []:
            broker.put(f"{places.topic}-partition-{i}/subscription/{quote(name, safe='')}", _EARLIEST)

    return _Step(f"subscription {name}", "on every partition", read, write)
