"""The demo: the incident that jobtrail was born from, played by real worker processes, and the questions answered.

`__main__` tells the story in order. It uses the SDK and the `jobtrail` command like anybody else.
"""
