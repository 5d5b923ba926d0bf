"""Functions that answer questions from the tables. Each takes a connection and the question, and returns a value.

Nothing here writes, prints or reads a setting. Every answer reads one snapshot of the database.
"""
