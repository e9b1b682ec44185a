"""Steps of the lab, by name: `python3 -m lab base`."""

import sys

from . import base

STEPS = {"base": lambda: base.make("bookworm")}


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1] not in STEPS:
        print(f"usage: python3 -m lab {'|'.join(STEPS)}", file=sys.stderr)
        return 64
    STEPS[sys.argv[1]]()
    return 0


sys.exit(main())
