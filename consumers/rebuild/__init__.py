"""`jobtrail rebuild`: the derived tables made anew from the log, beside the live ones, while the service runs.

In this order: `preflight` (may it, and would it lose anything), `load` (several processes read the log up to where it
ended when they began), indexes, `follow` (one process reads on until it is level), `swap` (a short moment in which
nobody writes), and the comparison with the old tables. `run` goes through them, and after a kill goes on where it was.
"""
