"""Faults while events pass: what is killed, when, and that the tables equal the oracle's all the same."""
