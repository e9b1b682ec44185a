"""Where the lab keeps things. Everything that is dear to make outlives the checkout, under one directory."""

import os
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
DIST = REPO / "dist"
CACHE = Path(os.environ.get("LOITSUT_CACHE", "/var/cache/loitsut"))
BASES = CACHE / "base"
BASE = BASES / "bookworm"  # what instances and trees lie over, unless another one is named
VENV = CACHE / "venv"
APT = CACHE / "apt-cacher-ng"
PYTHON_CACHE = CACHE / "py"

# Where instances find PYTHON_CACHE: the base tree's pip.conf and uv.toml name it, the launcher binds it there.
PYTHON_CACHE_INSIDE = Path("/var/cache/loitsut-py")
