"""Formats the page of `jobtrail sources`."""

from cli.render.tables import table
from cli.render.words import rate, when
from store.answers.sources import Sources


def sources_page(found: Sources) -> str:
    """Return a line for each source."""
    if not found.sources:
        return f"no attempt has ended since {when(found.since)}."
    rows = [
        (
            source.source or "(not known)",
            source.namespace,
            _share(source.completed, source.attempts, source.attempts_rate),
            _share(source.completed, source.final_outcomes, source.final_rate),
            source.recovered,
            source.cancelled,
        )
        for source in found.sources
    ]
    numbers = ["attempts completed", "final outcomes completed", "recovered jobs", "cancelled attempts"]
    headers = ["source", "namespace", *numbers]
    return f"since {when(found.since)}\n\n" + table(headers, rows, numbers=numbers)


def _share(part: int, whole: int, share: float | None) -> str:
    return f"{part} of {whole}, {rate(share)}" if whole else rate(share)
