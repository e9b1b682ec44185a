"""What a package would install, as a directory to lay over the base tree: an image without copying one."""

import shutil
from pathlib import Path

from .paths import DIST, REPO

UNITS = Path("usr/lib/systemd/system")

# Containers have EC2's metadata service and none of the marks of its machines: where it is has to be said.
ENDPOINT = "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://169.254.169.254"


def bake(layer: Path) -> Path:
    """Fill a directory with the agent, its units, and the shipped profiles, as they are now."""
    _copy(DIST / "loitsut", layer / "usr/bin/loitsut", 0o755)
    for unit in ("loitsut.service", "loitsut-worker.service", "loitsut-poweroff.service"):
        _copy(REPO / "systemd" / unit, layer / UNITS / unit, 0o644)
    wants = layer / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / "loitsut.service").symlink_to(f"/{UNITS}/loitsut.service")
    drop_in = layer / "etc/systemd/system/loitsut.service.d/metadata.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(f"[Service]\nEnvironment={ENDPOINT}\n")
    for file in (REPO / "profiles").rglob("*"):
        if file.is_file():
            _copy(file, layer / "usr/share/loitsut/profiles" / file.relative_to(REPO / "profiles"), 0o644)
    return layer


def _copy(source: Path, target: Path, mode: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)
