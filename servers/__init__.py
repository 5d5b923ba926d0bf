"""Real servers for the demo, tests and benchmarks: Pulsar and Postgres, each as a separate process.

Each server is a context manager with `start`, `stop` and `kill` (like a crash; the data stay). A server ends with the
program that started it, however that program ends (`lifeline.py`), and no other program uses its port (`ports.py`). If a
server is not available, `ServerUnavailableError` says what is missing. Nothing here knows jobtrail.
"""
