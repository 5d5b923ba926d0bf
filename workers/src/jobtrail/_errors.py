"""The exceptions of the SDK. Only ``Discard``, ``Retry`` and ``Cancel`` are for jobs to raise; the others say that the
program's own use of the SDK is wrong, and are raised at set-up or on request (``strict=True``), never into a job.
"""


class JobtrailError(Exception):
    """The top of the tree."""


class ConfigurationError(JobtrailError, ValueError):
    """A setting given to ``configure()`` cannot be used."""


class InvalidEvent(JobtrailError, ValueError):
    """A field of an event cannot be used; the message names the field, the value and the cure."""


class _Outcome(Exception):
    """An exception by which a job says how its attempt ends. It propagates like any other."""

    def __init__(self, message: str = "", *, category: str = "", fingerprint: str = "") -> None:
        super().__init__(message)
        self.jobtrail_category = category
        self.jobtrail_fingerprint = fingerprint


class Discard(_Outcome):
    """Raised in a job: this failure is final, whatever attempts are left."""


class Retry(_Outcome):
    """Raised in a job: this attempt failed and the job will be tried again, whatever ``max_attempts`` says."""


class Cancel(_Outcome):
    """Raised in a job: the job is no longer wanted; neither a success nor a failure."""
