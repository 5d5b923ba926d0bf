"""Shared by tests and bench: services started as processes, temporary databases, workloads, topics."""
