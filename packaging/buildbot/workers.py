"""The workers, as machines that are made for each build, or that are always there. Nothing else knows which."""

import os
from typing import Any

from buildbot.plugins import util, worker

# Name of each worker: the pool of loitsut-driver.toml that its machine comes from, and the profile that makes it. Both are
# yours to write: `bakery-deb` is layers ci-base, toolchain/gcc, deps/boost and worker/buildbot with debhelper, `bakery-rpm` the
# same with rpm-build, `clean` nothing but a worker that may use sudo (`root = true`).
WORKERS = {
    "deb-1": ("debian", "bakery-deb"),
    "deb-2": ("debian", "bakery-deb"),
    "rpm-1": ("fedora", "bakery-rpm"),
    "clean-deb-1": ("debian", "clean"),
    "clean-rpm-1": ("fedora", "clean"),
}


def latent() -> list[Any]:
    """Each build has a clean machine of its own; the driver's token stands in secrets/driver-token."""
    address = os.environ.get("BUILDBOT_WORKER_ADDRESS")    # host:port as the machines reach it; none: this host's name
    driver = os.environ.get("LOITSUT_DRIVER", "http://127.0.0.1:7878")
    return [
        worker.LoitsutLatentWorker(
            name, pool=pool, profile=profile, driver=driver, token=util.Secret("driver-token"), master_address=address,
        )
        for name, (pool, profile) in WORKERS.items()
    ]


def static() -> list[Any]:
    """Hosts that are always there; the password of each stands in secrets/NAME."""
    return [worker.Worker(name, util.Secret(name), max_builds=1) for name in WORKERS]
