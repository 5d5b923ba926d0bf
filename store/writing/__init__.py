"""Writes a batch to the tables in one transaction, with its dead letters."""
