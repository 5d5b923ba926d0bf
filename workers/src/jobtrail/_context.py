"""Holds the running job in a context variable, so that a job started inside a job becomes its child.

asyncio tasks inherit it. Threads do not (on Python up to 3.13): wrap the functions they run.
"""

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, NamedTuple, ParamSpec, Protocol, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")


class Lineage(NamedTuple):
    """The job ids of a job's parent and root, and its depth; empty and -1 where not known."""

    parent_job_id: str = ""
    root_job_id: str = ""
    depth: int = -1


class ParentJob(Protocol):
    """What a job passes on to the jobs that it spawns."""

    namespace: str
    job_id: str
    source: str
    lineage: Lineage


current_job: Final[ContextVar[ParentJob | None]] = ContextVar("jobtrail_current_job", default=None)


def wrap(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that runs inside the job that is current *now*, in any thread, at any later time.

    ``pool.submit(jobtrail.wrap(fetch), url)``: jobs that ``fetch`` starts or enqueues are children of this one.
    Coroutine functions stay coroutine functions.
    """
    job = current_job.get()
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def carried_async(*args: Any, **kwargs: Any) -> Any:
            token = current_job.set(job)
            try:
                return await function(*args, **kwargs)
            finally:
                current_job.reset(token)

        return cast(Callable[P, R], carried_async)

    @functools.wraps(function)
    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        token = current_job.set(job)
        try:
            return function(*args, **kwargs)
        finally:
            current_job.reset(token)

    return carried
