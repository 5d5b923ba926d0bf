"""The one error of this package."""


class ServerUnavailableError(Exception):
    """A server cannot be had or does not start; the message says what is missing, and the cure."""
