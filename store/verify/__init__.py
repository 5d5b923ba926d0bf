"""Checks that the derived tables agree: each aggregate with a `GROUP BY`, each job and edge with the rows it is derived from.

`run.verify` is the entry point: it reads slice by slice, while writers write, and yields the rows that differ. Nothing here
writes, prints or reads a setting.
"""
