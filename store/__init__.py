"""All access to Postgres: migrations, named queries, the writer of batches, and the answers."""
