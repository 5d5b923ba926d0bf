"""Measurements: throughput, the cost of the SDK. `make bench` runs them; they start their own servers."""
