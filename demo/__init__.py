"""The demo: replays the incident that led to jobtrail with real worker processes, and answers the questions about it.

`__main__` shows the order of the steps. The demo uses the SDK and the `jobtrail` command as any user would.
"""
