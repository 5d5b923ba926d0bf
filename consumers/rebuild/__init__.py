"""`jobtrail rebuild`: derives the tables again from the log, beside the live ones, while the service runs.

In this order: `preflight` (is it allowed, and would anything be lost?), `load` (several processes read the log up to where it
ended when they began), indexes, `follow` (one process reads on until it has caught up), `swap` (a short time in which
no other process writes), and the comparison with the old tables. `phases` runs them, and resumes after a kill.
"""
