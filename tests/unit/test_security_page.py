"""docs/security.md is true about the names of secrets and about addresses."""

import re
from pathlib import Path

from schemas.redaction import Redactor, redact
from settings.aggregator import AggregatorSettings
from settings.metrics import MetricsSettings
from settings.service import ServiceSettings

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "security.md").read_text(encoding="utf-8")


def test_names_that_the_page_lists_are_names_of_secrets() -> None:
    rows = re.findall(r"^\| (?:always|as the last word of a name) \| (.*) \|$", PAGE, re.MULTILINE)
    names = [name for row in rows for name in row.split(", and password in")[0].split(", ")]
    assert len(names) > 20
    assert [name for name in names if not Redactor().secrecy(name.replace(" ", "_"))] == []


def test_names_that_the_page_calls_harmless_are_not_names_of_secrets() -> None:
    (others,) = re.findall(r"by whole words: (.*?) are none of these", PAGE, re.DOTALL)
    (about,) = re.findall(r"is not its name: (.*?)\. Values", PAGE, re.DOTALL)
    names = re.findall(r"`(\w+)`", others + about)
    assert len(names) > 5
    assert [name for name in names if Redactor().secrecy(name)] == []


def test_values_that_the_page_calls_harmless_are_kept() -> None:
    (values,) = re.findall(r"Values that are plainly no secret\s+are kept: (.*?)\.\s", PAGE, re.DOTALL)
    texts = re.findall(r"`([^`]+)`", values)
    assert len(texts) > 3
    assert [text for text in texts if redact(text) != text] == []


def test_services_listen_where_the_page_says() -> None:
    assert ServiceSettings.load().listen_host == "127.0.0.1"
    assert f"of the aggregator ({AggregatorSettings.model_fields['aggregator_port'].default})" in PAGE
    assert f"of the metrics consumer ({MetricsSettings.model_fields['metrics_port'].default})" in PAGE
