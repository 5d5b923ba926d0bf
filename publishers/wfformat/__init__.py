"""`jobtrail import wfformat`: replay recorded executions of real workflows as events.

``document`` (bytes to JSON) → ``versions`` (any version of WfFormat to one shape) → ``read`` (a checked Trace;
``fields``, ``identity``, ``graph``, ``stages``, ``moments`` and ``names`` each check one part) → ``plan`` (when
each task would have run) → ``events`` (the fields of each event) → ``play`` (publishes them at their time, by
``sending``, through the SDK).
"""
