"""launch.py REPORT.json LIMIT_BYTES COMMAND…: run a command and report its seconds, peak memory and status.

Small on purpose. Linux counts towards a process's peak memory (ru_maxrss) what the one that started it ever held; so
the benchmarks, which hold large arrays, start what they measure through this.
"""

import json
import os
import resource
import sys
import time


def main(report: str, limit_bytes: str, *command: str) -> None:
    if int(limit_bytes):
        resource.setrlimit(resource.RLIMIT_DATA, (int(limit_bytes), int(limit_bytes)))
    start = time.perf_counter()
    _, status, usage = os.wait4(os.posix_spawnp(command[0], command, os.environ), 0)
    wall_s = time.perf_counter() - start
    peak_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    with open(report, "w") as file:
        json.dump({"wall_s": wall_s, "peak_bytes": peak_bytes, "status": os.waitstatus_to_exitcode(status)}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
