"""The one error of this package."""


class ServerUnavailableError(Exception):
    """A server that a test needs cannot be had or does not start; the message says what is missing, and the cure."""
