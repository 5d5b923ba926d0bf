"""The SDK's settings, sender and counts in this process. Made at first use, and again after a fork."""

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
    """Return the settings; read them from the environment if ``configure()`` was not called."""
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
    """Count a fault in the SDK that must not reach the job."""
    _runtime.counts.drop("internal", 1, describe(error))


def unusable(what: str, error: BaseException) -> None:
    """Count an option that was left out; its event went on without it."""
    _runtime.counts.drop("left_out", 1, f"{what}: {describe(error)}")


def configure(**settings: Any) -> None:
    """Set up the SDK. Call it once, at the start of the program.

    Every setting can also come from an environment variable (``JOBTRAIL_`` and its name in capitals); an argument here
    wins. A second call replaces all settings; events already made are sent with the old ones.

    Raises ConfigurationError (a ValueError) that names the setting, its value and the cure.
    """
    new = Config.load(os.environ, **settings)
    with _runtime.lock:
        old, _runtime.sender = _runtime.sender, None
        _runtime.config = new
    if old is not None:
        old.shutdown(new.shutdown_timeout_seconds)


def flush(timeout: float = 5.0) -> bool:
    """Wait until every event made so far is sent, spooled or dropped; return False after ``timeout`` seconds.

    Sent means that the broker acknowledged it. Spooled means that it is on this machine's disk, and this process or
    another will send it. Dropped events are counted in `stats()`.
    """
    sender = _runtime.sender
    return sender is None or sender.flush(timeout)


def shutdown(timeout: float | None = None) -> bool:
    """Send or spool the events that are left, and end the sender's threads.

    Later events are dropped until ``configure()`` is called again. This is called automatically when the program ends.
    Returns False when an event could be neither sent nor spooled within ``timeout`` seconds (by default
    ``shutdown_timeout_seconds``). While the broker answers, the rest of that time is used for events in the spool. A
    hung broker may delay the return by 20 more seconds.
    """
    sender = _runtime.sender
    if sender is None:
        return True
    return sender.shutdown(config().shutdown_timeout_seconds if timeout is None else timeout)


def stats() -> Stats:
    """Return this process's counts: accepted, sent, spooled, queued, and dropped by reason."""
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
    # A child of multiprocessing ends by os._exit, without atexit, but runs multiprocessing's own finalizers.
    multiprocessing_util = sys.modules.get("multiprocessing.util")
    process = sys.modules.get("multiprocessing.process")
    if multiprocessing_util is not None and process is not None and process.parent_process() is not None:
        multiprocessing_util.Finalize(None, _at_exit, exitpriority=-100)


def _at_exit() -> None:
    try:
        shutdown()
        _runtime.counts.report()
    except Exception as error:
        logger.debug("could not shut down at exit: %r", error)


def _after_fork() -> None:
    """Forget the parent's sender, in the child: its thread is not here, and the parent sends its events."""
    sender, settings = _runtime.sender, _runtime.config
    _runtime.reset()
    if settings is not None:
        _runtime.config = _of_this_process(settings)
    if sender is not None:
        # Its Pulsar client must never be destroyed in the child: that would wait for threads that do not exist here.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(sender))


def _of_this_process(old: Config) -> Config:
    suffix = f":{os.getppid()}"
    executor = (
        old.executor.removesuffix(suffix) + f":{os.getpid()}"
        if old.executor.endswith(suffix)
        else old.executor
    )
    return replace(old, executor=executor)
