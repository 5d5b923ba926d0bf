"""`jobtrail import wfformat`: recorded executions of real workflows, replayed as events.

``document`` (bytes to JSON) → ``read`` (JSON to a checked Trace, with ``graph``) → ``plan`` (when each task would have
run) → ``events`` (fields of the contract) → ``play`` (in their time, by ``sending``, through the SDK).
"""
