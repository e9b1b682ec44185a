"""How long `loitsut apply` takes, and how much memory, where nothing is to be done: the mark is 20 ms and 12 MB."""

import json
import secrets
import statistics
import sys
import tempfile
from pathlib import Path

from lab.bake import bake
from lab.instance import HOST, instance
from lab.proxy import apt_proxy

RUNS = 50
MILLISECONDS, MEGABYTES = 20, 12

# Runs inside, by the python3 that the profile itself brings: no container is entered between two measurements. The peak
# may be that of python3 itself, between fork and exec, about 9 MB: it is an upper bound.
MEASURE = """
import json, os, resource, subprocess, sys, time
runs, *command = sys.argv[1:]
walls = []
for _ in range(int(runs)):
    began = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL)
    walls.append((time.perf_counter() - began) * 1000)
    if done.returncode:
        sys.exit(done.returncode)
print(json.dumps({"walls": walls, "peak": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024}))
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as directory, apt_proxy() as port:
        apply = ["loitsut", "apply", "cpp", "--param", f"apt_proxy=http://{HOST}:{port}"]
        with instance(f"bench-{secrets.token_hex(4)}", b"", [bake(Path(directory))], "bench") as machine:
            machine.wait_until_reachable()
            machine.run(*apply, check=True)
            measured = machine.run("python3", "-c", MEASURE, str(RUNS), *apply, check=True, capture=True)
    figures = json.loads(measured.stdout)
    median = statistics.median(figures["walls"])
    print(f"no-change apply of cpp, {RUNS} runs: median {median:.1f} ms (mark {MILLISECONDS}), "
          f"best {min(figures['walls']):.1f}, worst {max(figures['walls']):.1f}; "
          f"peak memory {figures['peak']:.1f} MB (mark {MEGABYTES})")
    return 0 if median <= MILLISECONDS and figures["peak"] <= MEGABYTES else 1


sys.exit(main())
