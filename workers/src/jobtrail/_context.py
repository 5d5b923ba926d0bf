"""Which job is running here: a context variable, so that a job started inside a job is its child.

asyncio tasks inherit it by themselves. Threads do not (on Python up to 3.13): wrap what they run.
"""

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from jobtrail._job import Job

P = ParamSpec("P")
R = TypeVar("R")

current_job: Final[ContextVar["Job | None"]] = ContextVar("jobtrail_current_job", default=None)


class Lineage(NamedTuple):
    """Where a job stands: parent and root by job id, and steps from the root; empty and -1 where not known."""

    parent_job_id: str = ""
    root_job_id: str = ""
    depth: int = -1


def current() -> "Job | None":
    """Give the job that runs here, None outside of any."""
    return current_job.get()


def wrap(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function run inside the job that is current *now*, in whatever thread it is called later.

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
