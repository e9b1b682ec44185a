"""The base tree: about what a generic Debian 12 cloud image has, and nothing that a profile should bring itself."""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

from .paths import BASE, PYTHON_CACHE, PYTHON_CACHE_INSIDE
from .proxy import apt_proxy

SUITE = "bookworm"
PACKAGES = [
    "ca-certificates", "dbus", "iproute2", "iputils-ping", "kmod", "libpam-systemd", "netbase",
    "procps", "systemd", "systemd-sysv", "tzdata", "udev",
]

SOURCES = f"""\
Types: deb
URIs: http://deb.debian.org/debian
Suites: {SUITE} {SUITE}-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://deb.debian.org/debian-security
Suites: {SUITE}-security
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


def make() -> Path:
    """Make the base tree, unless one of this recipe is there."""
    recipe = _recipe()
    stamp = BASE.with_suffix(".recipe")
    PYTHON_CACHE.mkdir(parents=True, exist_ok=True)
    if BASE.is_dir() and stamp.is_file() and stamp.read_text() == recipe:
        return BASE
    fresh = BASE.with_suffix(".new")
    BASE.parent.mkdir(parents=True, exist_ok=True)
    for tree in (fresh, BASE):
        if tree.exists():
            shutil.rmtree(tree)
    _bootstrap(fresh)
    _configure(fresh)
    fresh.rename(BASE)
    stamp.write_text(recipe)
    return BASE


def private_authorities() -> list[str]:
    """The certificates that this host trusts beyond Debian's own set: instances must trust them too."""
    public = {_normal(pem) for file in Path("/usr/share/ca-certificates").rglob("*.crt") for pem in _certificates(file)}
    trusted = [Path("/etc/ssl/certs/ca-certificates.crt"), *Path("/usr/local/share/ca-certificates").rglob("*.crt")]
    found = {_normal(pem): pem for file in trusted for pem in _certificates(file)}
    return sorted(pem for normal, pem in found.items() if normal not in public)


def _bootstrap(tree: Path) -> None:
    with apt_proxy() as port:
        command = [
            "mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}",
            f'--aptopt=Acquire::http::Proxy "http://127.0.0.1:{port}"',
            SUITE, str(tree), "-",
        ]
        subprocess.run(command, input=SOURCES, text=True, check=True)


def _configure(tree: Path) -> None:
    """What mmdebstrap leaves of its own run goes, what the lab's instances need comes."""
    etc = tree / "etc"
    (etc / "apt/apt.conf.d/99mmdebstrap").unlink(missing_ok=True)
    for sources in [etc / "apt/sources.list", *(etc / "apt/sources.list.d").glob("*")]:
        sources.unlink(missing_ok=True)
    (etc / "apt/sources.list.d/debian.sources").write_text(SOURCES)
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


def _recipe() -> str:
    parts = [SUITE, *PACKAGES, SOURCES, PIP_CONF, UV_TOML, *private_authorities(), str(BASE)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _certificates(file: Path) -> list[str]:
    return CERTIFICATE.findall(file.read_text(errors="replace")) if file.is_file() else []


def _normal(pem: str) -> str:
    return "".join(pem.split())
