"""The services that read the topic: aggregator and metrics, and the loop they share."""
