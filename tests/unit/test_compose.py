"""The promises of docker-compose.yml, the Dockerfile and Prometheus' configuration, read from the files."""

import re
import tomllib

import pytest

from servers.postgres_programs import NEWEST
from servers.pulsar_jars import pulsar_version
from settings.aggregator import AggregatorSettings
from settings.base import PREFIX, Settings
from settings.broker import BrokerSettings
from settings.database import DatabaseSettings
from settings.metrics import MetricsSettings
from settings.provision import ProvisionSettings
from tests import compose

PASSWORD = "not-in-the-file"
SERVICES = compose.services({"POSTGRES_PASSWORD": PASSWORD})
NAMES = sorted(SERVICES)
OURS: dict[str, type[Settings]] = {
    "provision": ProvisionSettings,
    "migrate": DatabaseSettings,
    "aggregator": AggregatorSettings,
    "metrics": MetricsSettings,
}


@pytest.mark.parametrize("name", NAMES)
def test_ports_are_published_only_on_the_loopback_address(name: str) -> None:
    assert [port for port in compose.published(SERVICES[name]) if port.host != "127.0.0.1"] == []
    assert "network_mode" not in SERVICES[name]


@pytest.mark.parametrize("name", NAMES)
def test_every_image_is_pinned_by_a_tag_with_a_version(name: str) -> None:
    _, _, tag = SERVICES[name]["image"].rpartition(":")
    assert re.fullmatch(r"v?\d+\.\d+(\.\d+)?(\.dev\d+)?", tag), f"{name}: {SERVICES[name]['image']}"


def test_the_versions_are_those_that_the_tests_run() -> None:
    project = tomllib.loads((compose.ROOT / "pyproject.toml").read_text())["project"]
    assert SERVICES["pulsar"]["image"] == f"apachepulsar/pulsar:{pulsar_version()}"
    assert SERVICES["postgres"]["image"].startswith(f"postgres:{NEWEST}.")
    for name in OURS:
        assert SERVICES[name]["image"] == f"jobtrail:{project['version']}"


@pytest.mark.parametrize("name", OURS)
def test_each_service_has_settings_that_it_reads_and_accepts(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A misspelt variable, or a setting of another service, fails this test."""
    environment = compose.environment_of(SERVICES[name])
    read_by_it = {f"{PREFIX}{field}".upper() for field in OURS[name].model_fields}
    assert {variable for variable in environment if variable.startswith(PREFIX)} <= read_by_it
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    loaded = OURS[name].load()
    if isinstance(loaded, BrokerSettings):
        assert loaded.pulsar_url == "pulsar://pulsar:6650"


@pytest.mark.parametrize("name", NAMES)
def test_no_secret_is_in_the_file(name: str) -> None:
    """Every value that looks like a secret comes from the environment, and no URL contains a password."""
    for variable, value in compose.environment_of(SERVICES[name]).items():
        if re.search("PASSWORD|SECRET|TOKEN", variable):
            assert value == PASSWORD, variable
        assert not re.search(r"//[^/@]*:[^/@]*@", value), variable


def test_without_a_password_the_error_says_what_to_do() -> None:
    with pytest.raises(compose.UnsetVariableError, match=r"^POSTGRES_PASSWORD: choose one"):
        compose.services({})


@pytest.mark.parametrize("name", NAMES)
def test_containers_have_few_rights(name: str) -> None:
    """Only Postgres' image has capabilities, no process can gain any, and only Pulsar's image is writable."""
    service = SERVICES[name]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cap_drop"] == ["ALL"]
    assert "privileged" not in service
    assert ("cap_add" in service) == (name == "postgres")
    assert service.get("read_only", False) == (name != "pulsar")


@pytest.mark.parametrize("name", NAMES)
def test_long_running_services_restart_have_a_health_check_and_time_to_stop(name: str) -> None:
    service = SERVICES[name]
    if name in ("provision", "migrate"):
        assert service["restart"] == "no"
        return
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD"
    assert compose.seconds(service["stop_grace_period"]) >= 30
    assert service["logging"]["options"]["max-size"]


def test_the_consumers_start_after_broker_and_database_are_set_up() -> None:
    order = list(compose.in_order(SERVICES))
    for before, after in [
        ("pulsar", "provision"),
        ("postgres", "migrate"),
        ("provision", "aggregator"),
        ("migrate", "aggregator"),
        ("provision", "metrics"),
    ]:
        assert order.index(before) < order.index(after)
    waits = {
        (on, how["condition"])
        for name in OURS
        for on, how in SERVICES[name].get("depends_on", {}).items()
    }  # fmt: skip
    assert waits == {
        ("pulsar", "service_healthy"),
        ("postgres", "service_healthy"),
        ("provision", "service_completed_successfully"),
        ("migrate", "service_completed_successfully"),
    }


def test_data_that_must_outlive_a_container_is_on_a_volume() -> None:
    volumes = {name: service["volumes"] for name, service in SERVICES.items() if "volumes" in service}
    assert "pulsar-data:/pulsar/data" in volumes["pulsar"]
    assert "postgres-data:/var/lib/postgresql" in volumes["postgres"], (
        "there is a folder for each version below it"
    )
    assert "prometheus-data:/prometheus" in volumes["prometheus"]


def test_prometheus_scrapes_exactly_the_services_with_a_page() -> None:
    expected = {("pulsar", 8080)}
    for name in ("aggregator", "metrics"):
        expected |= {(name, port.container_port) for port in compose.published(SERVICES[name])}
    assert {(host, port) for _, host, port in compose.scrape_targets()} == expected
    mounted = [entry.split(":") for entry in SERVICES["prometheus"]["volumes"]]
    assert ["./deploy/prometheus", "/etc/prometheus", "ro"] in mounted
    assert "--config.file=/etc/prometheus/prometheus.yml" in SERVICES["prometheus"]["command"]


def test_the_image_does_not_run_as_root() -> None:
    last_stage = compose.instructions()[[word for word, _ in compose.instructions()].index("FROM") :]
    (user,) = (rest for word, rest in last_stage if word == "USER")
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user), (
        "by number, so that Kubernetes can check that it is not root"
    )
    assert f"--uid {user.partition(':')[0]}" in compose.DOCKERFILE.read_text()


def test_the_image_has_packages_by_hash_and_our_code_unchanged() -> None:
    installs = [
        rest for word, rest in compose.instructions() if word == "RUN" and rest.startswith("pip install")
    ]
    others, ours = installs
    assert "--require-hashes --only-binary :all:" in others
    assert ours == "pip install --no-deps --no-build-isolation . ./workers", (
        "not editable, nothing downloaded"
    )
