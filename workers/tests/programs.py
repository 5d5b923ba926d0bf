"""Runs programs that use the SDK, each in a new interpreter."""

import os
import subprocess
import sys
import textwrap

from workers.tests.reading import Topic


def run(program: str, topic: Topic, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a program that publishes to the topic; settings become environment variables. Raises after two minutes."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("JOBTRAIL")},
        "JOBTRAIL_SPOOL_DIR": os.environ["JOBTRAIL_SPOOL_DIR"],
        "JOBTRAIL_PULSAR_URL": topic.url,
        "JOBTRAIL_TOPIC": topic.name,
        "JOBTRAIL_NAMESPACE": "tests",
        "PYTHONPATH": os.pathsep.join(sys.path),
        **{name: str(value) for name, value in settings.items()},
    }
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
