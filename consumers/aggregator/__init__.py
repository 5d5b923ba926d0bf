"""The aggregator service: events from the topic into Postgres."""
