"""What this process has of the SDK: its settings, its sender, its counts. Made when first used, anew after a fork."""

import atexit
import ctypes
import logging
import os
import sys
import threading
from dataclasses import replace
from typing import Any, Final

from jobtrail._config import Config
from jobtrail._counts import Counts, Stats
from jobtrail._sender import Sender
from jobtrail._text import describe

logger = logging.getLogger("jobtrail")


class _Runtime:
    def __init__(self) -> None:
        self.hooked = False
        self.reset()

    def reset(self) -> None:
        self.lock = threading.RLock()
        self.counts = Counts()
        self.config: Config | None = None
        self.sender: Sender | None = None


_runtime: Final = _Runtime()


def config() -> Config:
    """Give the settings, read from the environment if ``configure()`` was not called."""
    return _runtime.config or _configure_from_environment()


def counts() -> Counts:
    return _runtime.counts


def submit(event: dict[str, Any], size: int) -> bool:
    """Hand an event to the sender of this process. Never raises, never waits for the broker."""
    try:
        settings = _runtime.config or _configure_from_environment()
        if not settings.enabled:
            return False
        sender = _runtime.sender or _new_sender(settings)
        return sender.submit(event, size)
    except Exception as error:
        failed(error)
        return False


def failed(error: BaseException) -> None:
    """Count a fault of the SDK that must not reach the job."""
    _runtime.counts.drop("internal", 1, describe(error))


def unusable(what: str, error: BaseException) -> None:
    """Count something given to a job that was left out; the event itself went on."""
    _runtime.counts.drop("left_out", 1, f"{what}: {describe(error)}")


def configure(**settings: Any) -> None:
    """Set the SDK up; to be called once, at the start of the program.

    Every setting can also come from an environment variable (``JOBTRAIL_`` and its name in capitals); what is given
    here wins. Called again, it replaces all settings; events already made are sent with the old ones.

    Raises ConfigurationError (a ValueError) that names the setting, its value and the cure.
    """
    new = Config.load(os.environ, **settings)
    with _runtime.lock:
        old, _runtime.sender = _runtime.sender, None
        _runtime.config = new
    if old is not None:
        old.shutdown(new.shutdown_timeout_seconds)


def flush(timeout: float = 5.0) -> bool:
    """Wait until every event made so far was sent, spooled or dropped; False after ``timeout`` seconds.

    Sent: the broker acknowledged it. Spooled: it is on the disk of this machine, and will be sent by this process or
    another. Dropped events are counted in `stats()`.
    """
    sender = _runtime.sender
    return sender is None or sender.flush(timeout)


def shutdown(timeout: float | None = None) -> bool:
    """Send or spool what is left, and end the sender's threads; later events are dropped until ``configure()`` is called again.

    Called by itself at the end of the program. False when something could be neither sent nor spooled within
    ``timeout`` seconds (``shutdown_timeout_seconds`` by default). While the broker answers, the rest of that time is for
    events that wait in the spool. A hung broker may hold it up for 20 seconds more.
    """
    sender = _runtime.sender
    if sender is None:
        return True
    return sender.shutdown(config().shutdown_timeout_seconds if timeout is None else timeout)


def stats() -> Stats:
    """Give the counts of this process: accepted, sent, spooled, queued, dropped by reason."""
    sender = _runtime.sender
    return _runtime.counts.stats(sender.queued if sender is not None else 0)


def _configure_from_environment() -> Config:
    with _runtime.lock:
        if _runtime.config is None:
            _runtime.config = Config.load(os.environ)
        return _runtime.config


def _new_sender(settings: Config) -> Sender:
    with _runtime.lock:
        if _runtime.sender is None:
            _install_hooks()
            _runtime.sender = Sender(settings, _runtime.counts)
        return _runtime.sender


def _install_hooks() -> None:
    if not _runtime.hooked:
        _runtime.hooked = True
        atexit.register(_at_exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_after_fork)
    # A child of multiprocessing ends by os._exit, without atexit; it runs its own finalizers instead.
    multiprocessing_util = sys.modules.get("multiprocessing.util")
    process = sys.modules.get("multiprocessing.process")
    if multiprocessing_util is not None and process is not None and process.parent_process() is not None:
        multiprocessing_util.Finalize(None, _at_exit, exitpriority=-100)


def _at_exit() -> None:
    try:
        shutdown()
        _runtime.counts.report()
    except Exception as error:
        logger.debug("could not end in order: %r", error)


def _after_fork() -> None:
    """In the child: forget the parent's sender, whose thread is not here and whose events the parent sends."""
    sender, settings = _runtime.sender, _runtime.config
    _runtime.reset()
    if settings is not None:
        _runtime.config = _of_this_process(settings)
    if sender is not None:
        # Its Pulsar client must never be destroyed here: that would wait for threads that do not exist.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(sender))


def _of_this_process(old: Config) -> Config:
    suffix = f":{os.getppid()}"
    executor = (
        old.executor.removesuffix(suffix) + f":{os.getpid()}"
        if old.executor.endswith(suffix)
        else old.executor
    )
    return replace(old, executor=executor)
