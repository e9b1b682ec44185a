"""What trees are made of beside the base tree: a package archive, Python, uv; each made once in a run."""

import shutil
from pathlib import Path

from lab.paths import BASE, VENV

from . import repository
from .tree import tree

PROXY = "etc/apt/apt.conf.d/01proxy"


def debian(layer: Path, apt_port: int, base: Path = BASE) -> Path:
    """Debian's archive through the package proxy, its lists read."""
    with tree(base=base, keep=layer) as made:
        made.put(f"/{PROXY}", f'Acquire::http::Proxy "http://127.0.0.1:{apt_port}";\n')
        made.script("apt-get --quiet update")
    return layer


def archive(layer: Path) -> Path:
    """An archive of our own instead of Debian's, its lists read."""
    repository.make(layer / repository.INSIDE.lstrip("/"))
    _program(Path(__file__).with_name("hold-lock"), layer)
    with tree(keep=layer) as made:
        made.script("rm /etc/apt/sources.list.d/*")
        made.put("/etc/apt/sources.list", repository.SOURCES)
        made.script("apt-get --quiet update")
    return layer


def python(layer: Path, debian: Path) -> Path:
    """Python as distributions have it, with pip in a package of its own."""
    with tree(debian, keep=layer) as made:
        made.script("DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes install --no-install-recommends python3-venv")
    return layer


def uv(layer: Path) -> Path:
    """uv, as people install it."""
    return _program(VENV / "bin/uv", layer)


def _program(file: Path, layer: Path) -> Path:
    target = layer / "usr/local/bin" / file.name
    target.parent.mkdir(parents=True)
    shutil.copy(file, target)
    return layer
