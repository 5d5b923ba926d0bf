"""The one error of this package."""


class ServerUnavailableError(Exception):
    """A server is not available or does not start. The message says what is missing, and the cure."""
