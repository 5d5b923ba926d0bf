"""The law, pure: what follows from a set of events. Imports schemas only; no I/O, no clock."""
