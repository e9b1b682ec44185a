"""A repository of RPM packages of our own."""

import os
import subprocess
import tempfile
from pathlib import Path

INSIDE = "/srv/rpms"
REPOSITORY = f"[own]\nname=own\nbaseurl=file://{INSIDE}\ngpgcheck=0\nmetadata_expire=0\n"

# Everything that the scripts of packages need, since this root has no package of its own.
BASE = "Provides: /bin/sh\n"

NEEDS_PLAIN = ("lt-needs-plain", "1.0", "Requires: lt-plain\n")

# Name, version, and what else is in the spec file.
PACKAGES = [
    ("lt-base", "1.0", BASE),
    ("lt-plain", "1.0", ""),
    ("lt-plain", "2.0", ""),
    ("lt-provider", "1.0", "Provides: lt-virtual = 3\n"),
    ("lt-recommends", "1.0", "Recommends: lt-plain\n"),
    NEEDS_PLAIN,
    ("lt-post", "1.0", "%post\necho the disk is haunted\nexit 3\n"),
    ("lt-pre", "1.0", "%pre\necho the disk is haunted\nexit 3\n"),
]


def make(folder: Path) -> None:
    """Build all packages there, with the metadata that dnf reads."""
    folder.mkdir(parents=True)
    for name, version, more in PACKAGES:
        build(name, version, more, folder)
    subprocess.run(["createrepo_c", "--quiet", folder], check=True)


def build(name: str, version: str, more: str, folder: Path) -> None:
    """Build one package there."""
    tags, _, scripts = more.partition("%")
    spec = (
        f"Name: {name}\nVersion: {version}\nRelease: 1\nSummary: for tests\nLicense: none\nBuildArch: noarch\n"
        f"AutoReqProv: no\n{tags}%description\nfor tests\n%files\n{'%' + scripts if scripts else ''}"
    )
    with tempfile.TemporaryDirectory() as top:
        file = Path(top) / "x.spec"
        file.write_text(spec)
        subprocess.run(
            ["rpmbuild", "--quiet", "-bb", "--define", f"_topdir {top}", "--define", f"_rpmdir {folder}",
             "--define", "_rpmfilename %{NAME}-%{VERSION}.rpm", str(file)],
            check=True, env={**os.environ, "HOME": top}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
