"""One batch into the tables, in one transaction, and dead letters beside it."""
