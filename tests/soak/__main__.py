"""`python3 -m soak [--kills N] [--full N] [--seed S]`: the full counts; what came of each point goes to a file."""

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from lab.bake import bake
from lab.paths import CACHE
from lab.proxy import apt_proxy

from . import points
from .layers import layers


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--full", type=int, default=30)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, apt_proxy() as port:
        below = [*layers(Path(directory), port), bake(Path(directory) / "baked")]
        kills = points.kill(below, options.seed, options.kills)
        full = points.fill(below, options.seed, options.full)
    record = CACHE / f"soak-{options.seed}.txt"
    told = [f"killed: {kills.summary()}", f"full disk: {full.summary()}", *kills.lines, *full.lines,
            *kills.failures, *full.failures]
    record.write_text("\n".join(told) + "\n")
    print(*told[:2], *kills.failures[:3], *full.failures[:3], f"recorded in {record}", sep="\n")
    return 1 if kills.failures or full.failures else 0


sys.exit(main())
