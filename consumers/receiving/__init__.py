"""From the broker to decoded events: what every consumer does before its own work."""
