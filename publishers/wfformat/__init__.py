"""A WfFormat import: see ``read``, ``plan``, ``events`` and ``play``."""
