"""Base trees: about what a generic Debian cloud image has, and nothing that a profile should bring itself."""

import fcntl
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

from .paths import BASES, PYTHON_CACHE, PYTHON_CACHE_INSIDE
from .proxy import apt_proxy

PACKAGES = [
    "ca-certificates", "dbus", "iproute2", "iputils-ping", "kmod", "libpam-systemd", "netbase",
    "procps", "systemd", "systemd-sysv", "tzdata", "udev",
]

SOURCES = """\
Types: deb
URIs: http://deb.debian.org/debian
Suites: {suite} {suite}-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://deb.debian.org/debian-security
Suites: {suite}-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""

# Neither pip nor uv looks at the system's certificates unless told to. The cache is shared by all instances and runs.
PIP_CONF = f"""\
[global]
cert = /etc/ssl/certs/ca-certificates.crt
cache-dir = {PYTHON_CACHE_INSIDE}/pip
disable-pip-version-check = true
"""
UV_TOML = f"""\
native-tls = true
cache-dir = "{PYTHON_CACHE_INSIDE}/uv"
"""

CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def make(suite: str) -> Path:
    """Make the base tree of a Debian release, unless one of this recipe is there."""
    base = BASES / suite
    recipe = _recipe(suite)
    stamp = base.with_suffix(".recipe")
    PYTHON_CACHE.mkdir(parents=True, exist_ok=True)
    BASES.mkdir(parents=True, exist_ok=True)
    with open(BASES / f"{suite}.lock", "w") as lock:
        # Two runs at a time would make the same tree.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if base.is_dir() and stamp.is_file() and stamp.read_text() == recipe:
            return base
        fresh = base.with_suffix(".new")
        for tree in (fresh, base):
            if tree.exists():
                shutil.rmtree(tree)
        _bootstrap(suite, fresh)
        _configure(suite, fresh)
        fresh.rename(base)
        stamp.write_text(recipe)
    return base


def private_authorities() -> list[str]:
    """The certificates that this host trusts beyond Debian's own set: instances must trust them too."""
    public = {_normal(pem) for file in Path("/usr/share/ca-certificates").rglob("*.crt") for pem in _certificates(file)}
    trusted = [Path("/etc/ssl/certs/ca-certificates.crt"), *Path("/usr/local/share/ca-certificates").rglob("*.crt")]
    found = {_normal(pem): pem for file in trusted for pem in _certificates(file)}
    return sorted(pem for normal, pem in found.items() if normal not in public)


def _bootstrap(suite: str, tree: Path) -> None:
    with apt_proxy() as port:
        command = [
            "mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}",
            f'--aptopt=Acquire::http::Proxy "http://127.0.0.1:{port}"',
            suite, str(tree), "-",
        ]
        subprocess.run(command, input=SOURCES.format(suite=suite), text=True, check=True)


def _configure(suite: str, tree: Path) -> None:
    """What mmdebstrap leaves of its own run goes, what the lab's instances need comes."""
    etc = tree / "etc"
    (etc / "apt/apt.conf.d/99mmdebstrap").unlink(missing_ok=True)
    for sources in [etc / "apt/sources.list", *(etc / "apt/sources.list.d").glob("*")]:
        sources.unlink(missing_ok=True)
    (etc / "apt/sources.list.d/debian.sources").write_text(SOURCES.format(suite=suite))
    # Empty, not "uninitialized": an image that was never another machine, yet does not run the first-boot wizard.
    (etc / "machine-id").write_text("")
    (etc / "hostname").unlink(missing_ok=True)
    (etc / "pip.conf").write_text(PIP_CONF)
    (etc / "uv").mkdir()
    (etc / "uv/uv.toml").write_text(UV_TOML)
    (tree / PYTHON_CACHE_INSIDE.relative_to("/")).mkdir()
    for number, pem in enumerate(private_authorities()):
        (tree / f"usr/local/share/ca-certificates/private-{number}.crt").write_text(pem + "\n")
    subprocess.run(["chroot", str(tree), "update-ca-certificates"], check=True, stdout=subprocess.DEVNULL)


def _recipe(suite: str) -> str:
    parts = [suite, *PACKAGES, SOURCES.format(suite=suite), PIP_CONF, UV_TOML, *private_authorities(), str(BASES / suite)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _certificates(file: Path) -> list[str]:
    return CERTIFICATE.findall(file.read_text(errors="replace")) if file.is_file() else []


def _normal(pem: str) -> str:
    return "".join(pem.split())
