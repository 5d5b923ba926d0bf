"""The metrics service: counts events from the topic for Prometheus to scrape."""
