"""The log line of each minute: sums over the batches, and no line without batches."""

from structlog.testing import capture_logs

from consumers.process.progress import MinuteReport


def test_a_minute_with_batches_has_one_line_and_one_without_has_none() -> None:
    """The sums start at zero each minute; the total goes on."""
    now = 0.0
    progress = MinuteReport("counted", clock=lambda: now)
    with capture_logs() as lines:
        progress.add(events=3, undecodable=0)
        progress.add(events=4, undecodable=1)
        now = 59.0
        progress.log_when_due()
        assert lines == []
        now = 60.0
        progress.log_when_due()
        now = 120.0
        progress.log_when_due()
        progress.add(events=1, undecodable=0)
        now = 181.0
        progress.log_when_due()
    assert [(line["event"], line["batches"], line["events"], line["undecodable"]) for line in lines] == [
        ("counted", 2, 7, 1),
        ("counted", 1, 1, 0),
    ]
    assert progress.total == {"events": 8, "undecodable": 1}
