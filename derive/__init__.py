"""The law as pure functions: what follows from a set of events. Imports only schemas; no I/O, no clock."""
