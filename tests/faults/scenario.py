"""One scenario: events are published and aggregated, faults happen, the backlog is worked off, and the tables are compared."""

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from psycopg import OperationalError

from testing.services import JOBTRAIL
from tests.faults.director import Director, Held
from tests.faults.kinds import KINDS, NO_EFFECT, Ongoing
from tests.faults.maintenance import Rebuilding
from tests.faults.plan import EXCLUSIVE, PUBLISHER_KILLED, REBUILD_KILLED, Fault, Plan
from tests.faults.publisher import Orders
from tests.faults.replicas import Fleet
from tests.faults.site import PARTITIONS, Servers, Site, provisioned
from tests.faults.truth import Judgement, judge, read_topic
from tests.faults.workers import SdkWorkers

EVENTS_A_SECOND = 400
REACHED_WITHIN_SECONDS = 60
CAUGHT_UP_WITHIN_SECONDS = 240
NO_PROGRESS_SECONDS = 120
TEND_EVERY_SECONDS = 0.3
_HOURS_BACK_US = 8 * 3600 * 1_000_000


class Done(NamedTuple):
    """A fault that happened, or did not; then the note says why."""

    kind: str
    step: str
    counts: bool
    note: str


class Outcome(NamedTuple):
    """The result of one scenario."""

    name: str
    seed: int
    replicas: int
    done: tuple[Done, ...]
    published: Mapping[str, int]
    """The counts of all publishers, added up."""
    judgement: Judgement | None
    failures: tuple[str, ...]
    """Failures outside of the tables: replicas that ended by themselves, a backlog that stayed."""
    seconds: float

    @property
    def holds(self) -> bool:
        """Return whether every table is right, and nothing else failed."""
        return not self.failures and self.judgement is not None and self.judgement.holds


def play(
    plan: Plan,
    servers: Servers,
    folder: Path,
    say: Callable[[str], None] = lambda _line: None,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Play it; ``folder`` keeps the logs, ``environment`` is added to the aggregators' one. A failure is returned, never raised."""
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    played = _Played(plan, say)
    try:
        played.run(servers, folder, environment or {})
    except Exception:  # noqa: BLE001  # the failure is reported, and the next scenario is played
        played.failures.append(traceback.format_exc())
    return Outcome(
        name=plan.name,
        seed=plan.seed,
        replicas=plan.replicas,
        done=tuple(played.done),
        published=played.published,
        judgement=played.judgement,
        failures=tuple(played.failures),
        seconds=round(time.monotonic() - began, 1),
    )


class _Played:
    """The course of one scenario."""

    def __init__(self, plan: Plan, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._say = say
        self._ongoing: list[Ongoing] = []
        self._tended_at = 0.0
        self.done: list[Done] = []
        self.failures: list[str] = []
        self.published: dict[str, int] = {}
        self.judgement: Judgement | None = None

    def run(self, servers: Servers, folder: Path, environment: Mapping[str, str]) -> None:
        with ExitStack() as opened:
            director = opened.enter_context(Director())
            url = opened.enter_context(servers.database(small_disk=self._plan.needs_small_disk))
            topic = provisioned(servers.broker, self._plan.name)
            settings = {
                "JOBTRAIL_PULSAR_URL": servers.broker.url,
                "JOBTRAIL_PULSAR_ADMIN_URL": servers.broker.admin_url,
                "JOBTRAIL_TOPIC": topic,
                "JOBTRAIL_AGGREGATOR_BATCH_EVENTS": str(self._plan.batch_events),
                **self._plan.settings,
                **director.environment,
                **environment,
            }
            fleet = Fleet(settings, url, folder)
            opened.callback(fleet.kill_all)
            postgres = servers.postgres(small_disk=self._plan.needs_small_disk)
            rebuilding = Rebuilding(settings, url, folder)
            opened.callback(rebuilding.kill)
            workers = SdkWorkers(servers.broker.url, topic, folder)
            opened.callback(workers.kill)
            site = Site(servers, topic, url, postgres, director, fleet, rebuilding, workers)
            publishers = _Publishers(self._plan, servers.broker.url, topic, folder)
            opened.callback(publishers.kill)
            opened.callback(self._end_all)  # so the next scenario finds its servers whatever happens
            for _ in range(self._plan.replicas):
                fleet.join()
            if any(fault.kind == PUBLISHER_KILLED for fault in self._plan.faults):
                workers.start()
            for fault in self._plan.faults:
                self._strike(site, publishers, fault)
            self._until(site, lambda: not self._ongoing, CAUGHT_UP_WITHIN_SECONDS, "the faults to end")
            self._until(
                site, lambda: not rebuilding.is_unfinished, CAUGHT_UP_WITHIN_SECONDS, "the rebuild to end"
            )
            promised = workers.finish()
            self.published = {**publishers.finish(), "promised": len(promised)}
            self._catch_up(site)
            self.failures += [*fleet.ended_by_themselves, *rebuilding.failures]
            self._verify(settings, url)
            with site.observer() as observer:
                stored = read_topic(servers.broker.url, topic, PARTITIONS)
                self.judgement = judge(stored, publishers.tallies, observer, promised)

    def _strike(self, site: Site, publishers: "_Publishers", fault: Fault) -> None:
        if fault.kind in EXCLUSIVE:  # one server at a time: it cannot start on a full disk, or twice
            self._until(
                site,
                lambda: not any(one.fault.kind in EXCLUSIVE for one in self._ongoing),
                CAUGHT_UP_WITHIN_SECONDS,
                "the servers to be there",
            )
        of_rebuild = fault.kind == REBUILD_KILLED
        trap = site.director.trap(
            fault.step, fault.nth, lambda pid: (site.fleet.by_pid(pid) is None) == of_rebuild
        )
        if of_rebuild:
            site.rebuilding.begin()
        caught: list[Held] = []

        def met() -> bool:
            held = trap.wait(0.05)
            if held is not None:
                caught.append(held)
            return held is not None

        # While a lock is held for a minute, most steps are not reached: that time does not count.
        until = time.monotonic() + REACHED_WITHIN_SECONDS
        while not met():
            before = time.monotonic()
            self._tend(site)
            if of_rebuild:
                site.rebuilding.tend(
                    again=True
                )  # one that is past the step ends, and the next one reaches it
            until += time.monotonic() - before  # a broker may be starting again
            if self._ongoing:
                until = max(until, time.monotonic() + REACHED_WITHIN_SECONDS / 2)
            publishers.check()
            if time.monotonic() > until:
                site.director.remove(trap)
                self._record(fault, counts=False, note="no process reached the step")
                return
        ongoing = KINDS[fault.kind](site, fault, caught[0])
        if ongoing is None:
            self._record(fault, counts=True, note="")
        else:
            self._ongoing.append(ongoing)

    def _tend(self, site: Site) -> None:
        """End faults that are over, and replace ended replicas. It is called often but checks rarely, because it asks the servers."""
        if time.monotonic() - self._tended_at < TEND_EVERY_SECONDS:
            return
        self._tended_at = time.monotonic()
        for one in list(self._ongoing):
            try:
                over = one.over()
            except OperationalError:
                continue
            if over:
                self._ongoing.remove(one)
                note = one.end()
                self._record(one.fault, counts=note != NO_EFFECT, note=note)
        site.fleet.tend()
        site.rebuilding.tend(again=False)

    def _end_all(self) -> None:
        for one in self._ongoing:
            self._record(one.fault, counts=False, note=f"ended with the scenario: {one.end()}")
        self._ongoing.clear()

    def _record(self, fault: Fault, *, counts: bool, note: str) -> None:
        self.done.append(Done(fault.kind, fault.step, counts, note))
        self._say(f"{self._plan.name}: {fault.kind} at {fault.step!r}{': ' if note else ''}{note}")

    def _catch_up(self, site: Site) -> None:
        if not site.fleet.working():
            site.fleet.join()
        least, since = float("inf"), time.monotonic()
        while (backlog := site.backlog()) != 0:
            self._tend(site)
            if backlog is not None and backlog < least:
                least, since = backlog, time.monotonic()
            if time.monotonic() - since > NO_PROGRESS_SECONDS:
                self.failures.append(f"the backlog stays: {json.dumps(site.subscription())[:4_000]}")
                self.failures += [
                    f"{one.service.log}: {one.service.end_of_log()}" for one in site.fleet.replicas
                ]
                break
            time.sleep(0.3)
        site.fleet.stop_all()

    def _verify(self, settings: Mapping[str, str], url: str) -> None:
        """Run `jobtrail verify`, the product's own check of its aggregates and edges."""
        answer = subprocess.run(
            [JOBTRAIL, "verify"],
            env={**os.environ, **settings, "JOBTRAIL_DATABASE_URL": url},
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode:
            self.failures.append(
                f"`jobtrail verify` ended with status {answer.returncode}:\n{answer.stdout[-2_000:]}{answer.stderr[-2_000:]}"
            )

    def _until(
        self, site: Site, holds: Callable[[], bool], seconds: float, what: str, poll_seconds: float = 0.05
    ) -> bool:
        until = time.monotonic() + seconds
        while not holds():
            self._tend(site)
            if time.monotonic() > until:
                self.failures.append(f"waited {seconds:.0f} s for {what}")
                return False
            time.sleep(poll_seconds)
        return True


class _Publishers:
    """The publishing processes of one scenario."""

    def __init__(self, plan: Plan, url: str, topic: str, folder: Path) -> None:
        self.tallies = [folder / f"tally-{number}" for number in range(len(plan.publishers))]
        self._log = (folder / "publishers.log").open("wb")
        start_us = time.time_ns() // 1_000 - _HOURS_BACK_US
        self._processes = []
        for share, (one, tally) in enumerate(zip(plan.publishers, self.tallies, strict=True)):
            orders = Orders(
                url=url,
                topic=topic,
                seed=plan.seed,
                share=share,
                of=len(plan.publishers),
                events_a_second=EVENTS_A_SECOND / len(plan.publishers),
                start_us=start_us,
                clock_seconds=one.clock_seconds,
                duplicated=one.duplicated,
                backwards=one.backwards,
                tally=str(tally),
            )
            self._processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.faults.publisher", json.dumps(orders._asdict())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._log,
                )
            )
        self._clocks = sum(1 for one in plan.publishers if one.clock_seconds)

    def check(self) -> None:
        """Raise RuntimeError if a publisher has ended too early."""
        for process in self._processes:
            if process.poll() is not None:
                raise RuntimeError(
                    f"a publisher ended with status {process.returncode}: see {self._log.name}"
                )

    def finish(self) -> dict[str, int]:
        """Ask them to end, and return their counts, added up. Raises RuntimeError if one failed."""
        total: dict[str, int] = {"publishers": len(self._processes), "clocks_off": self._clocks}
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes:
            assert process.stdout is not None
            output = process.stdout.read()
            if process.wait(CAUGHT_UP_WITHIN_SECONDS):
                raise RuntimeError(
                    f"a publisher ended with status {process.returncode}: see {self._log.name}"
                )
            for name, count in json.loads(output.splitlines()[-1]).items():
                total[name] = total.get(name, 0) + count
        return total

    def kill(self) -> None:
        """Kill those that still run."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        self._log.close()
