"""Real servers for the demo, tests and benchmarks: Pulsar and Postgres, started as processes of their own.

Each server is a context manager with `start`, `stop` and `kill` (the hard way; the data stay). A server ends with the
program that started it, however that ends (`lifeline.py`), and no other program chooses its port (`ports.py`). Where a
server cannot be had, `ServerUnavailableError` says what is missing. Nothing here knows jobtrail.
"""
