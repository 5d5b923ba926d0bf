"""The settings of every service: meaning, unit, default and range in one place. Read from the environment and a file."""
