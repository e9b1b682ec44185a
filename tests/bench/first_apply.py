"""How long the first `loitsut apply` of a big profile takes, beside a script that somebody typed for the same machine.

Both begin with the bare base tree and end with the same packages, files, user, masks and Python environment, and both get
what they download from caches that are warm. The mark: at most 1.05 times the script's time, and for a machine that is
thrown away after use, less than it. Of a busy machine the column `cpu` tells more than the clock: user and system time of
everything that ran, without what it waited for.
"""

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from lab.bake import bake
from lab.proxy import apt_proxy
from tables.tree import Tree, tree

PROFILE = "mariadb-deb"
ROUNDS = 3
LONGEST_SECONDS = 1800
MARK, MARK_DISPOSABLE = 1.05, 1.00
SHIPPED = "/usr/share/loitsut/profiles"
USER_DATA = "/etc/loitsut/user-data.json"
WORKER = {"master": "ci.example.org:9989", "name": "bench", "password": "bench"}

# What an admin would write down who has no agent, $@ being the packages and $proxy that of apt.
SCRIPT = f"""\
export DEBIAN_FRONTEND=noninteractive
printf 'Acquire::http::Proxy "%s";\\nAcquire::https::Proxy "DIRECT";\\n' "$proxy" >/etc/apt/apt.conf.d/01proxy
for unit in apt-daily.timer apt-daily-upgrade.timer apt-daily.service apt-daily-upgrade.service unattended-upgrades.service; do
    ln -s /dev/null "/etc/systemd/system/$unit"
done
mkdir -p /etc/needrestart/conf.d
echo "\\$nrconf{{restart}} = 'l';" >/etc/needrestart/conf.d/50-local.conf
apt-get update
apt-get install -y --no-install-recommends "$@"
echo LANG=C.UTF-8 >/etc/default/locale
useradd --system --user-group --no-create-home --home-dir /var/lib/buildbot-worker --shell /bin/bash buildbot
install -d -o buildbot -g buildbot /var/lib/buildbot-worker /run/loitsut/worker
python3 -m venv /opt/buildbot-worker
/opt/buildbot-worker/bin/pip install --require-hashes -r {SHIPPED}/files/buildbot-worker.txt
cp {SHIPPED}/files/buildbot.tac /var/lib/buildbot-worker
umask 077
echo '{json.dumps(WORKER)}' >/run/loitsut/worker/buildbot.json
chown buildbot /run/loitsut/worker/buildbot.json
"""

# What both have made, as far as it takes time to make.
MADE = "dpkg-query --show; /opt/buildbot-worker/bin/pip list; id buildbot"

class Took(NamedTuple):
    """What one run took, in seconds."""

    wall: float
    cpu: float


WAYS = {"script": None, "agent": {}, "agent, disposable": {"disposable": True}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as directory, apt_proxy() as port:
        bench = Bench(Path(directory), f"http://127.0.0.1:{port}")
        bench.run("script")  # the caches are warm afterwards
        runs: dict[str, list[Took]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way in WAYS:
                runs[way].append(bench.run(way))
    return tell(runs)


class Bench:
    """Fresh trees, and what is done in each."""

    def __init__(self, directory: Path, proxy: str) -> None:
        self.directory = directory
        self.proxy = proxy
        self.baked = bake(directory / "baked")
        self.packages = self._packages()
        self.made: str | None = None

    def run(self, way: str) -> Took:
        """Do it once, in a tree of its own on disk."""
        with tempfile.TemporaryDirectory(dir=self.directory) as place, tree(self.baked, keep=Path(place) / "upper") as fresh:
            command = self._command(way, fresh)
            os.sync()  # what the one before has left to write
            began, before = time.monotonic(), cpu()
            done = subprocess.run(fresh.command(*command), capture_output=True, text=True, timeout=LONGEST_SECONDS)
            took = Took(time.monotonic() - began, cpu() - before)
            if done.returncode:
                raise RuntimeError(f"{way} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
            self._compare(fresh.run("sh", "-euc", MADE).stdout)
            return took

    def _packages(self) -> list[str]:
        """What the profile wants and the base tree does not have."""
        with tree(self.baked) as fresh:
            lines = fresh.run("loitsut", "plan", PROFILE).stdout.splitlines()
        packages = "\n".join(line for line in lines if line.startswith("differs  packages"))
        return sorted(set(re.findall(r"(\S+) is missing", packages)))

    def _command(self, way: str, fresh: Tree) -> list[str]:
        if WAYS[way] is None:
            return ["env", f"proxy={self.proxy}", "sh", "-euc", SCRIPT, "script", *self.packages]
        document = {"loitsut": 1, "profile": PROFILE, "params": {"apt_proxy": self.proxy}, "worker": WORKER}
        fresh.put(USER_DATA, json.dumps(document | WAYS[way]))
        return ["loitsut", "apply", "--user-data", USER_DATA]

    def _compare(self, made: str) -> None:
        if self.made not in (None, made):
            raise RuntimeError(f"not the same machine came about:\n{self.made}\n{made}")
        self.made = made


def cpu() -> float:
    """User and system time of everything that was started here and has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def tell(runs: dict[str, list[Took]]) -> int:
    """Print the table; 1 if a mark is missed."""
    medians = {way: Took(*map(statistics.median, zip(*times, strict=True))) for way, times in runs.items()}
    ratios = {way: median.wall / medians["script"].wall for way, median in medians.items()}
    print(f"first apply of {PROFILE}\n{'':20}{'median':>9}{'ratio':>8}{'cpu':>9}   runs")
    for way, median in medians.items():
        walls = ", ".join(f"{took.wall:.1f}" for took in runs[way])
        print(f"{way:20}{median.wall:>7.1f} s{ratios[way]:>8.2f}{median.cpu:>7.1f} s   {walls}")
    print(f"marks: agent at most {MARK:.2f}, disposable below {MARK_DISPOSABLE:.2f}")
    return 0 if ratios["agent"] <= MARK and ratios["agent, disposable"] < MARK_DISPOSABLE else 1


if __name__ == "__main__":
    sys.exit(main())
