"""`make bench`: every measurement in one run, printed with the machine it was made on.

JOBTRAIL_BENCH_JOBS (default 200000, a fifth of the whole workload; 1000000 is all of it) and JOBTRAIL_BENCH_REPEATS
(default 3) change the throughput run. `--json FILE` keeps the results as data.
"""

import argparse
import json
import os
from pathlib import Path

from bench import throughput
from bench.machine import machine


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results as JSON")
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("JOBTRAIL_BENCH_JOBS", "200000")))
    parser.add_argument("--repeats", type=int, default=int(os.environ.get("JOBTRAIL_BENCH_REPEATS", "3")))
    options = parser.parse_args()
    where = machine()
    found = throughput.measure(options.jobs, options.repeats, throughput.Say())
    print("\n".join(f"{name}: {value}" for name, value in where.items()))
    print()
    print(throughput.table(found))
    if options.json:
        options.json.write_text(
            json.dumps({"machine": where, "throughput": throughput.as_json(found)}, indent=2)
        )


if __name__ == "__main__":
    main()
