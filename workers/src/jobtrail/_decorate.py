"""`@jobtrail.job(…)`: records each call of a function as a job."""

import functools
import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

from jobtrail import _runtime
from jobtrail._options import HEADERS_ARGUMENT, PER_CALL, JobOptions

F = TypeVar("F", bound=Callable[..., Any])
MakeJob = Callable[[str, JobOptions], AbstractContextManager[object]]
"""Makes the Job of a call, of its worker and options."""


def decorate(function: F, worker: str, options: JobOptions, make_job: MakeJob) -> F:
    """Wrap a function or a coroutine function, so that each call is a job. A call may pass headers as the keyword ``jobtrail_headers``.

    Raises TypeError for a generator function, because calling one does no work yet.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{function.__qualname__} is a generator function, whose call does no work yet: "
            "put `with jobtrail.job(…)` inside it instead of the decorator"
        )
    name = worker or getattr(function, "__qualname__", "") or type(function).__name__

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            headers = kwargs.pop(HEADERS_ARGUMENT, None)
            with make_job(name, _options_of_call(function, name, options, headers, args, kwargs)):
                return await function(*args, **kwargs)

        return cast(F, run_async)

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        headers = kwargs.pop(HEADERS_ARGUMENT, None)
        with make_job(name, _options_of_call(function, name, options, headers, args, kwargs)):
            return function(*args, **kwargs)

    return cast(F, run)


def _options_of_call(
    function: Callable[..., Any],
    name: str,
    options: JobOptions,
    headers: Mapping[Any, Any] | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> JobOptions:
    of_call: dict[str, Any] = dict(options)
    for key in PER_CALL:
        value = of_call.get(key)
        if callable(value):
            try:
                of_call[key] = value(*args, **kwargs)
            except Exception as error:
                del of_call[key]
                _runtime.unusable(f"{key} of {name}", error)
    if of_call.get("args") is True:
        of_call["args"] = _by_name(function, args, kwargs)
    if headers is not None:
        of_call["headers"] = headers
    return cast(JobOptions, of_call)


def _by_name(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    try:
        bound = dict(inspect.signature(function).bind(*args, **kwargs).arguments)
    except (TypeError, ValueError):
        return {"args": args, **kwargs}
    bound.pop("self", None)
    return bound
