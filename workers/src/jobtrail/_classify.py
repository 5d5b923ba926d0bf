"""Describes a failure from its exception: category, type, message and origin. Nothing here raises.

Category: the exception's own ``jobtrail_category``; else the first class of its MRO found in the user's table; else
the first found in the default one; else ``error``. An exception group is classified by its first leaf.

Origin: ``module:function`` of the innermost frame of the traceback in the job's own code. Own code is what the
setting ``own_code`` names (modules, and all modules below them). Without the setting it is all code that is not
installed (site-packages, dist-packages), not in the standard library and not in this SDK.
"""

import os
import sysconfig
from collections.abc import Mapping
from functools import lru_cache
from types import FrameType, TracebackType
from typing import Any, Final

from jobtrail._stack import capture, is_sdk, type_name
from jobtrail._text import (
    CATEGORY_LIMIT,
    FINGERPRINT_LIMIT,
    MESSAGE_LIMIT,
    ORIGIN_LIMIT,
    cut_end,
    identifier,
    text_of,
)

UNKNOWN_CATEGORY: Final = "error"

Categories = Mapping[type[BaseException] | str, str]

# Names instead of classes, so that this table needs no import.
DEFAULT_CATEGORIES: Final[dict[type[BaseException] | str, str]] = {
    TimeoutError: "timeout",
    "concurrent.futures._base.TimeoutError": "timeout",
    "requests.exceptions.Timeout": "timeout",
    "httpx.TimeoutException": "timeout",
    "urllib3.exceptions.TimeoutError": "timeout",
    "celery.exceptions.SoftTimeLimitExceeded": "timeout",
    ConnectionError: "connection",
    "socket.gaierror": "connection",
    "ssl.SSLError": "connection",
    "requests.exceptions.ConnectionError": "connection",
    "httpx.TransportError": "connection",
    "urllib3.exceptions.HTTPError": "connection",
    "aiohttp.client_exceptions.ClientConnectionError": "connection",
    "urllib.error.HTTPError": "http",
    "urllib.error.URLError": "connection",
    "requests.exceptions.HTTPError": "http",
    "httpx.HTTPStatusError": "http",
    "aiohttp.client_exceptions.ClientResponseError": "http",
    PermissionError: "permission",
    FileNotFoundError: "not_found",
    ProcessLookupError: "not_found",
    MemoryError: "out_of_memory",
    AssertionError: "assertion",
    ValueError: "invalid_data",
    LookupError: "invalid_data",
    "asyncio.exceptions.CancelledError": "cancelled",
    "concurrent.futures._base.CancelledError": "cancelled",
    KeyboardInterrupt: "cancelled",
    SystemExit: "cancelled",
    GeneratorExit: "cancelled",
}

_WALK_LIMIT: Final = 5_000
_LEAF_DEPTH: Final = 10


def error_of(error: BaseException, categories: Categories, own_code: tuple[str, ...]) -> dict[str, Any]:
    """Describe an exception as the error of an event.

    The stack trace is only captured: the sender's thread prints it, and redacts the secrets of trace and message.
    """
    return {
        "category": category_of(error, categories),
        "type": type_name(type(error)),
        "message": cut_end(text_of(error), 4 * MESSAGE_LIMIT),
        "stacktrace": capture(error),
        "origin": origin_of(error.__traceback__, own_code),
        "fingerprint": identifier(_attribute(error, "jobtrail_fingerprint"), FINGERPRINT_LIMIT),
    }


def category_of(error: BaseException, categories: Categories) -> str:
    """Return the category of an exception, by the rule in the module's docstring."""
    leaf = _first_leaf(error)
    said = _attribute(error, "jobtrail_category") or _attribute(leaf, "jobtrail_category")
    if said:
        return identifier(said, CATEGORY_LIMIT)
    kind = type(leaf)
    found = (_first_match(kind, categories) if categories else None) or _default_category(kind)  # type: ignore[arg-type]  # mypy: a class is hashable, whatever its instances are
    return identifier(found or UNKNOWN_CATEGORY, CATEGORY_LIMIT)


def origin_of(trace: TracebackType | None, own_code: tuple[str, ...]) -> str:
    """Return ``module:function`` of the innermost own frame; without one, of the innermost frame outside the SDK."""
    own: FrameType | None = None
    other: FrameType | None = None
    for _ in range(_WALK_LIMIT):
        if trace is None:
            break
        frame = trace.tb_frame
        path = frame.f_code.co_filename
        if not is_sdk(path):
            other = frame
            if _is_own(frame, path, own_code):
                own = frame
        trace = trace.tb_next
    chosen = own or other
    if chosen is None:
        return ""
    return identifier(f"{_module_of(chosen)}:{chosen.f_code.co_qualname}", ORIGIN_LIMIT)


def _is_own(frame: FrameType, path: str, own_code: tuple[str, ...]) -> bool:
    if own_code:
        module = _module_of(frame)
        return any(module == name or module.startswith(f"{name}.") for name in own_code)
    return not _is_installed(path)


@lru_cache(maxsize=4096)
def _is_installed(path: str) -> bool:
    parts = path.replace("\\", "/").split("/")
    if path.startswith("<") or "site-packages" in parts or "dist-packages" in parts:
        return True
    return any(path.startswith(directory) for directory in _library_directories())


@lru_cache(maxsize=1)
def _library_directories() -> tuple[str, ...]:
    named = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), os.path.dirname(os.__file__))
    return tuple({directory.rstrip(os.sep) + os.sep for directory in named if directory})


def _module_of(frame: FrameType) -> str:
    """Return the import name of the frame's module, also when it runs as ``python -m``."""
    name = frame.f_globals.get("__name__")
    if name == "__main__":
        name = getattr(frame.f_globals.get("__spec__"), "name", None) or name
    return name if isinstance(name, str) else ""


@lru_cache(maxsize=1024)
def _default_category(kind: type[BaseException]) -> str | None:
    return _first_match(kind, DEFAULT_CATEGORIES)


def _first_match(kind: type[BaseException], table: Categories) -> str | None:
    for cls in kind.__mro__:
        found = table.get(cls) or table.get(_dotted(cls))
        if found:
            return found
    return None


def _first_leaf(error: BaseException) -> BaseException:
    for _ in range(_LEAF_DEPTH):
        if not isinstance(error, BaseExceptionGroup) or not error.exceptions:
            break
        error = error.exceptions[0]
    return error


def _dotted(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _attribute(error: BaseException, name: str) -> str:
    try:
        value = getattr(error, name, "")
    except Exception:
        return ""
    return value if isinstance(value, str) else ""
