"""Moved to the package `servers` (tests.databases for `databases`). This alias goes away with the next commit."""

import importlib
import sys

for _name in ("cache", "docker", "errors", "ports", "postgres", "postgres_programs", "processes", "pulsar", "pulsar_jars"):
    sys.modules[f"{__name__}.{_name}"] = importlib.import_module(f"servers.{_name}")
sys.modules[f"{__name__}.databases"] = importlib.import_module("tests.databases")
