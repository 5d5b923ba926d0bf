"""A fleet of long-lived writer processes, which carry out a universe's plan concurrently.

A batch that failed, or whose commit is not known, is delivered again as a whole to the first free writer: like the
broker, the fleet delivers at least once.
"""

import multiprocessing
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Self

from tests.law.retention import retain_for
from tests.law.universes import Delivery, Retention, Universe
from tests.law.writers import Report, serve

ANSWER_SECONDS = 30.0


@dataclass
class _Writer:
    process: BaseProcess
    pipe: Pipe
    doing: Delivery | Retention | None = None


class Fleet:
    """Writers that live longer than one example. A killed writer is replaced at once."""

    def __init__(self, database_url: str, size: int = 4) -> None:
        # Not forked from the test's process, which has open connections; preloaded, so that a new writer is cheap.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["pytest", "tests.law.writers", "tests.law.retention"])
        self._database_url = database_url
        self._writers = [self._start() for _ in range(size)]
        self._retainer = self._start(retain_for)
        self.removed: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        everybody = [*self._writers, self._retainer]
        for writer in everybody:
            writer.pipe.close()
        for writer in everybody:
            writer.process.join(5)
            if writer.process.exitcode is None:
                writer.process.kill()
                writer.process.join()

    def carry_out(self, universe: Universe) -> list[tuple[Delivery, Report]]:
        """Deliver every batch until it is written; return each delivery with its result.

        Raises TimeoutError when a writer does not answer, for example because a lock is never released.
        """
        if universe.plans_after is None:
            return self._carry_out(universe.plans, universe.retentions)
        results = self._carry_out(universe.plans, ())
        for retention in universe.retentions:
            self._carry_out((), (retention,))
        return results + self._carry_out(universe.plans_after, ())

    def _carry_out(
        self, all_plans: Sequence[Sequence[Delivery]], all_retentions: Sequence[Retention]
    ) -> list[tuple[Delivery, Report]]:
        crew = self._writers[: len(all_plans)]
        plans = [deque(plan) for plan in all_plans]
        again: deque[Delivery] = deque()
        retentions = deque(all_retentions)
        results: list[tuple[Delivery, Report]] = []
        try:
            while True:
                for writer, plan in zip(crew, plans, strict=True):
                    if writer.doing is None and (plan or again):
                        writer.doing = (plan or again).popleft()
                        writer.pipe.send(writer.doing)
                idle = all(writer.doing is None for writer in crew)
                if (
                    retentions
                    and self._retainer.doing is None
                    and (idle or retentions[0].after <= len(results))
                ):
                    self._retainer.doing = retentions.popleft()
                    self._retainer.pipe.send(self._retainer.doing)
                busy = {writer.pipe: writer for writer in (*crew, self._retainer) if writer.doing is not None}
                if not busy:
                    return results
                answered = wait(list(busy), timeout=ANSWER_SECONDS)
                if not answered:
                    raise TimeoutError(
                        f"no writer answered for {ANSWER_SECONDS} s: {[w.doing for w in busy.values()]}"
                    )
                for pipe in answered:
                    writer = busy[pipe]  # type: ignore[index]  # these pipes were waited for
                    if writer is self._retainer:
                        self._take_retention_result(retentions)
                        continue
                    delivery, report = self._answer(writer)
                    results.append((delivery, report))
                    if report.outcome == "error":
                        return results
                    if report.outcome != "written":
                        again.append(Delivery(delivery.events, delivery.dead_letters))
        finally:
            self._quiesce([*crew, self._retainer])

    def _take_retention_result(self, retentions: deque[Retention]) -> None:
        """Take the result of a retention, and start a killed one again. Raises RuntimeError if it failed."""
        doing, self._retainer.doing = self._retainer.doing, None
        assert isinstance(doing, Retention)
        try:
            answer = self._retainer.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._replace(self._retainer, retain_for)
            self.removed["runs of retention killed (SIGKILL)"] += 1
            retentions.appendleft(replace(doing, after=0, kill_at=0))
            return
        if isinstance(answer, str):
            raise RuntimeError(f"retention failed: {answer}")  # noqa: TRY004  # it is the text of an error
        self.removed.update(answer)

    def _answer(self, writer: _Writer) -> tuple[Delivery, Report]:
        assert isinstance(writer.doing, Delivery)
        delivery, writer.doing = writer.doing, None
        try:
            report: Report = writer.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._replace(writer)
            report = Report(
                "kill" if delivery.fault == "kill" else "error", detail="the writer's process died"
            )
        return delivery, report

    def _quiesce(self, crew: list[_Writer]) -> None:
        """Wait until no writer works, so that nothing changes the tables when the next universe starts."""
        deadline = time.monotonic() + ANSWER_SECONDS
        for writer in crew:
            if writer.doing is None:
                continue
            serves = retain_for if writer is self._retainer else serve
            if writer.pipe.poll(max(0.0, deadline - time.monotonic())):
                if writer is self._retainer:
                    self._take_retention_result(deque())
                else:
                    self._answer(writer)
            else:
                writer.process.kill()
                self._replace(writer, serves)

    def _start(self, serves: Callable[[Pipe, str], None] = serve) -> _Writer:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serves, args=(theirs, self._database_url), daemon=True)
        process.start()
        theirs.close()
        return _Writer(process, ours)

    def _replace(self, writer: _Writer, serves: Callable[[Pipe, str], None] = serve) -> None:
        writer.pipe.close()
        writer.process.join()
        fresh = self._start(serves)
        writer.process, writer.pipe, writer.doing = fresh.process, fresh.pipe, None
