"""The exceptions of the SDK.

Jobs raise ``Discard``, ``Retry`` and ``Cancel``. The others mean that a program uses the SDK wrongly. They are raised
at set-up or on request (``strict=True``), never into a job.
"""


class JobtrailError(Exception):
    """The base of the SDK's errors."""


class ConfigurationError(JobtrailError, ValueError):
    """A setting passed to ``configure()`` cannot be used."""


class InvalidEvent(JobtrailError, ValueError):
    """A field of an event cannot be used; the message names the field, the value and the cure."""


class _Outcome(Exception):
    """An exception that a job raises to set its attempt's outcome. It propagates like any other."""

    def __init__(self, message: str = "", *, category: str = "", fingerprint: str = "") -> None:
        super().__init__(message)
        self.jobtrail_category = category
        self.jobtrail_fingerprint = fingerprint


class Discard(_Outcome):
    """Raised in a job: this failure is final, even when attempts are left."""


class Retry(_Outcome):
    """Raised in a job: this attempt failed, and the job will be retried, even beyond ``max_attempts``."""


class Cancel(_Outcome):
    """Raised in a job: the job is no longer wanted. It neither succeeded nor failed."""
