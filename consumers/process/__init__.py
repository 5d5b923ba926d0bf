"""What every long-running process has: health, log, stop, progress, the interpreter's settings, steps for tests."""
