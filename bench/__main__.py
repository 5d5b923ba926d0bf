"""`make bench`: every measurement in one run, printed with the machine it was made on.

Two parts: `throughput` of the aggregator, and what the `sdk` costs a job. JOBTRAIL_BENCH_JOBS (default 200000, a fifth
of the whole workload; 1000000 is all of it) and JOBTRAIL_BENCH_REPEATS (default 3) change the throughput run. `--json
FILE` keeps the results as data.
"""

import argparse
import json
import os
from pathlib import Path

from bench import sdk, throughput
from bench.machine import machine


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", choices=["throughput", "sdk"], help="one part; both by default")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results as JSON")
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("JOBTRAIL_BENCH_JOBS", "200000")))
    parser.add_argument("--repeats", type=int, default=int(os.environ.get("JOBTRAIL_BENCH_REPEATS", "3")))
    parser.add_argument("--events", type=int, default=sdk.EVENTS, help="sdk: events of each kind")
    parser.add_argument("--pairs", type=int, default=sdk.PAIRS, help="sdk: pairs of rounds of the loop")
    options = parser.parse_args()
    say = throughput.Say()
    tables: list[str] = []
    where = machine()
    results: dict[str, object] = {"machine": where}
    if options.only != "throughput":
        cost = sdk.measure(options.events, options.pairs, say)
        tables.append(sdk.table(cost))
        results["sdk"] = sdk.as_json(cost)
    if options.only != "sdk":
        found = throughput.measure(options.jobs, options.repeats, say)
        tables.append(throughput.table(found))
        results["throughput"] = throughput.as_json(found)
    print("\n".join(f"{name}: {value}" for name, value in where.items()))
    for text in tables:
        print(f"\n{text}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
