"""Functions that answer questions from the tables, each one call: a connection and what is asked, a value back.

Nothing here writes, prints or knows a setting. Every answer reads one snapshot of the database.
"""
