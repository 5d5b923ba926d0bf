"""Check that the derived tables agree: every aggregate with its `GROUP BY`, every job and edge with the rows behind it.

`run.verify` is the entry point: it reads while writers write, slice by slice, and names the rows that differ. Nothing here
writes, prints or reads a setting.
"""
