"""The version of what is installed."""

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """Return the version of the installed pipeline; "(not installed)" in a checkout that was not installed."""
    try:
        return version("jobtrail-pipeline")
    except PackageNotFoundError:
        return "(not installed)"
