"""Deletes expired data: advances the horizon, drops days of attempts and subtracts them from the aggregates, deletes runs."""
