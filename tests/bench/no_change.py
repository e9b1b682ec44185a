"""How long `loitsut apply` takes, and how much memory, where nothing is to be done: whole processes, in a booted instance
with the packages of a C++ build machine. The marks: 10 ms for 50 resources, 20 ms for the shipped profile `cpp`, whose
service has systemd asked; 12 MB."""

import json
import secrets
import statistics
import sys
import tempfile
from pathlib import Path

from lab.bake import bake
from lab.instance import HOST, Instance, instance
from lab.proxy import apt_proxy

RUNS = 200
MEGABYTES = 12

# 30 files, 10 directories, 5 packages, 5 users.
FIFTY = "".join([
    *(f'[[resource]]\ntype = "directory"\npath = "/srv/fifty/{i}"\nmode = "0750"\n' for i in range(10)),
    *('[[resource]]\ntype = "packages"\n' f'apt = ["{name}"]\n' for name in ("apt", "bash", "cmake", "g++", "tar")),
    *(f'[[resource]]\ntype = "user"\nname = "fifty{i}"\nhome = "/home/fifty{i}"\n' for i in range(5)),
    *(f'[[resource]]\ntype = "file"\npath = "/srv/fifty/{i % 10}/file-{i}"\ncontent = "{{{{ os.id }}}} {"x" * 1000}\\n"\n'
      for i in range(30)),
])

# Runs inside, by the python3 that the profile itself brings: no container is entered between two measurements. The peak
# may be that of python3 itself, between fork and exec, about 9 MB: it is an upper bound.
MEASURE = """
import json, os, resource, subprocess, sys, time
runs, *command = sys.argv[1:]
walls = []
for _ in range(int(runs)):
    began = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=[
        (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)])
    status = os.waitpid(pid, 0)[1]
    walls.append((time.perf_counter() - began) * 1000)
    if status:
        sys.exit(os.waitstatus_to_exitcode(status))
packages = open("/var/lib/dpkg/status").read().count("\\nStatus: install ok installed")
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(json.dumps({"walls": walls, "peak": peak, "packages": packages}))
"""


def bring_fifty(layer: Path) -> Path:
    """A directory to lay over the base tree: the profile `fifty`."""
    profiles = layer / "etc/loitsut/profiles"
    (profiles / "layers").mkdir(parents=True)
    (profiles / "fifty.toml").write_text('layers = ["fifty"]\n')
    (profiles / "layers/fifty.toml").write_text(FIFTY)
    return layer


def measure(machine: Instance, mark: float, *apply: str) -> bool:
    """Apply until nothing is to be done, and then many times more; whether it is as fast and small as it must be."""
    machine.run(*apply, check=True)
    measured = machine.run("python3", "-c", MEASURE, str(RUNS), *apply, check=True, capture=True)
    figures = json.loads(measured.stdout)
    median = statistics.median(figures["walls"])
    print(f"no-change apply of {apply[2]}, {figures['packages']} packages, {RUNS} runs: median {median:.1f} ms "
          f"(mark {mark}), best {min(figures['walls']):.1f}, worst {max(figures['walls']):.1f}; "
          f"peak memory {figures['peak']:.1f} MB (mark {MEGABYTES})")
    return median <= mark and figures["peak"] <= MEGABYTES


def main() -> int:
    with tempfile.TemporaryDirectory() as directory, apt_proxy() as port:
        layers = [bake(Path(directory, "image")), bring_fifty(Path(directory, "fifty"))]
        with instance(f"bench-{secrets.token_hex(4)}", b"", layers, "bench") as machine:
            machine.wait_until_reachable()
            met = [
                measure(machine, 20, "loitsut", "apply", "cpp", "--param", f"apt_proxy=http://{HOST}:{port}"),
                measure(machine, 10, "loitsut", "apply", "fifty"),
            ]
    return 0 if all(met) else 1


sys.exit(main())
