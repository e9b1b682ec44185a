"""Renew the lists of exact Python packages: the lab's own, and the one that the layer worker/buildbot ships.

The shipped list names only wheels for CPython on Linux: nothing is compiled on an instance, and with a tenth of the
hashes a profile still fits into user-data.
"""

import subprocess
import tomllib
from pathlib import Path

from packaging.markers import Marker
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from .paths import REPO, VENV

PYTHONS = ["3.9.2", "3.9.25", "3.10.12", "3.11.2", "3.12.3", "3.13.5", "3.14.0"]
MACHINES = ["x86_64", "aarch64"]
GLIBCS = range(17, 40)  # manylinux_2_17 is the oldest in use; a wheel for a newer glibc is for newer distributions

LAB = REPO / "tests/lab/requirements.in"
WORKER = REPO / "profiles/files/buildbot-worker.in"


def renew() -> None:
    """Resolve both lists anew, as the registry is today."""
    _resolve(LAB, "3.11", LAB.with_suffix(".txt"), "--generate-hashes", "--no-annotate")
    locked = WORKER.with_name("pylock.toml")
    _resolve(WORKER, "3.9", locked)
    packages = tomllib.loads(locked.read_text())["packages"]
    locked.unlink()
    header = f"# The closure of {WORKER.name} for CPython 3.9 to 3.14 on Linux; made by tests/lab/lock.py.\n"
    WORKER.with_suffix(".txt").write_text(header + "".join(filter(None, map(_requirement, packages))))


def _resolve(source: Path, python: str, output: Path, *options: str) -> None:
    command = [f"{VENV}/bin/uv", "pip", "compile", "--quiet", "--system-certs", "--universal", "--no-header",
               "--python-version", python, *options, "--output-file", output.name, source.name]
    subprocess.run(command, check=True, cwd=source.parent)


def _requirement(package: dict) -> str:
    """One package with the hashes of the wheels that some instance may want, or nothing."""
    marker = Marker(package["marker"]) if "marker" in package else None
    wanted = [environment for environment in _environments() if marker is None or marker.evaluate(environment)]
    hashes = set()
    for environment in wanted:
        usable = [wheel["hashes"]["sha256"] for wheel in package["wheels"] if _fits(wheel["url"], environment)]
        if not usable:
            where = f"Python {environment['python_version']} on {environment['platform_machine']}"
            raise SystemExit(f"{package['name']} {package['version']}: no wheel for {where}")
        hashes.update(usable)
    if not wanted:
        return ""
    line = f"{package['name']}=={package['version']}" + (f" ; {marker}" if marker else "")
    return " \\\n    ".join([line, *(f"--hash=sha256:{digest}" for digest in sorted(hashes))]) + "\n"


def _environments() -> list[dict[str, str]]:
    linux = {"implementation_name": "cpython", "platform_python_implementation": "CPython",
             "os_name": "posix", "sys_platform": "linux", "platform_system": "Linux"}
    return [
        linux | {"python_full_version": full, "python_version": full.rpartition(".")[0], "platform_machine": machine}
        for full in PYTHONS for machine in MACHINES
    ]


def _fits(url: str, environment: dict[str, str]) -> bool:
    _, _, _, tags = parse_wheel_filename(url.rpartition("/")[2])
    major, minor = map(int, environment["python_version"].split("."))
    machine = environment["platform_machine"]
    platforms = [f"manylinux_2_{glibc}_{machine}" for glibc in GLIBCS] + [f"manylinux2014_{machine}"]
    supported = {*cpython_tags((major, minor), platforms=platforms),
                 *compatible_tags((major, minor), f"cp{major}{minor}", platforms=platforms)}
    return not tags.isdisjoint(supported)
