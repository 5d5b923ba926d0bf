"""The metrics service: events from the topic into counts that Prometheus scrapes."""
