"""Faults while events come: what is killed, and when. Afterwards the tables must equal the oracle's."""
