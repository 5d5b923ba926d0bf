"""Settings of every service: meaning, unit, default and range in one place, read from a file and the environment."""
