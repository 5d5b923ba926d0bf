"""The law as pure functions: derives rows from a set of events. Imports only schemas; no I/O, no clock."""
