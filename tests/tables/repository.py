"""A package archive of our own, with packages that misbehave as real ones do."""

import hashlib
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

INSIDE = "/srv/archive"
SOURCES = f"deb [trusted=yes] file:{INSIDE} ./\n"


@dataclass(frozen=True)
class Package:
    """What is in a .deb."""

    name: str
    version: str = "1.0"
    control: dict[str, str] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)  # also conffiles and templates
    files: dict[str, str] = field(default_factory=dict)


ASK = "#!/bin/sh\nset -e\n. /usr/share/debconf/confmodule\n"

PACKAGES = [
    Package("lt-plain"),
    Package("lt-plain", "2.0"),
    Package("lt-provider", control={"Provides": "lt-virtual"}),
    Package("lt-recommends", control={"Recommends": "lt-plain"}),
    Package("lt-brings-trouble", control={"Recommends": "lt-fails"}),
    Package("lt-needs-plain", control={"Depends": "lt-plain"}),
    Package("lt-needs-new", control={"Depends": "lt-plain (>= 2.0)"}),
    Package("lt-instead", control={"Conflicts": "lt-plain"}),
    Package("lt-foreign", control={"Architecture": "i386"}),
    Package("build-essential", "12.9"),
    *(
        Package("lt-conf", version, files={"etc/lt.conf": f"{version}\n"}, scripts={"conffiles": "/etc/lt.conf\n"})
        for version in ("1.0", "2.0")
    ),
    # Fails until its administrator has done something about it.
    Package("lt-fails", scripts={"postinst": "#!/bin/sh\ntest -e /etc/fixed || { echo 'the disk is haunted'; exit 3; }\n"}),
    # Kills dpkg in the middle of unpacking, once.
    Package("lt-killed", scripts={"preinst": "#!/bin/sh\ntest -e /etc/fixed || { touch /etc/fixed; kill -KILL $PPID; }\n"}),
    Package("lt-daemon", scripts={"postinst": "#!/bin/sh\n(trap '' HUP; exec sleep 300) &\n"}),
    Package(
        "lt-asks",
        control={"Depends": "debconf"},
        scripts={
            "templates": "Template: lt-asks/colour\nType: string\nDescription: Which colour?\n Any.\n",
            "config": f"{ASK}db_input critical lt-asks/colour || true\ndb_go\n",
            "postinst": f"{ASK}db_get lt-asks/colour\necho \"colour '$RET'\" >/etc/lt-asks\n",
        },
    ),
    # Asks what man-db asks.
    Package(
        "lt-man",
        control={"Depends": "debconf"},
        scripts={
            "templates": "Template: man-db/auto-update\nType: boolean\nDefault: true\nDescription: Index?\n Now.\n",
            "postinst": f"{ASK}db_get man-db/auto-update\necho \"index $RET\" >/etc/lt-man\n",
        },
    ),
]


# What `apt-get build-dep lt-source` reads.
SOURCE_INDEX = """\
Package: lt-source
Binary: lt-source
Version: 1.0
Maintainer: nobody <nobody@example.org>
Build-Depends: lt-plain (>= 2.0), lt-nowhere [hurd-any], lt-nothing | lt-virtual
Architecture: any
Format: 3.0 (native)
Directory: .
Checksums-Sha256:
 0000000000000000000000000000000000000000000000000000000000000000 1 lt-source_1.0.dsc
"""


def make(folder: Path, packages: Sequence[Package] = PACKAGES) -> None:
    """Build all packages there, with the index that apt reads."""
    folder.mkdir(parents=True)
    stanzas = [_stanza(_build(package, folder), package) for package in packages]
    (folder / "Packages").write_text("\n".join(stanzas))
    (folder / "Sources").write_text(SOURCE_INDEX)


def _build(package: Package, folder: Path) -> Path:
    deb = folder / f"{package.name}_{package.version}_all.deb"
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        root.chmod(0o755)
        files = {f"DEBIAN/{name}": text for name, text in package.scripts.items()} | package.files
        files["DEBIAN/control"] = _control(package)
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
            (root / path).chmod(0o755 if text.startswith("#!") else 0o644)
        command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", root, deb]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return deb


def _control(package: Package) -> str:
    fields = {"Package": package.name, "Version": package.version, "Architecture": "all",
              "Maintainer": "nobody <nobody@example.org>", "Description": "for tests", **package.control}
    return "".join(f"{name}: {value}\n" for name, value in fields.items())


def _stanza(deb: Path, package: Package) -> str:
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    return f"{_control(package)}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"
