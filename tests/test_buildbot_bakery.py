"""The example master: from a source tree to packages that were installed on clean machines."""

import contextlib
import secrets
import tarfile
from pathlib import Path

from driver_api import TOKEN, api, throw_away_worker
from lab.buildbot import Master, master
from lab.paths import REPO

EXAMPLE = REPO / "packaging/buildbot"
SECONDS = 180
FILES: dict[str, str | Path] = {name: EXAMPLE / name for name in ("master.cfg", "workers.py", "builders", "scripts", "hello")}
BUILDERS = ["tarball", "deb", "rpm", "install-deb", "install-rpm"]


def bake(buildbot: Master) -> None:
    """The one bake of a new master, to its end."""
    buildbot.force("tarball")
    for builder in BUILDERS:
        build = buildbot.wait_for_first_build(builder, SECONDS)
        failed = [step for step in buildbot.steps(build) if step["results"] not in (0, None)]
        assert build["results"] == 0, f"{builder}: {[(step['name'], buildbot.log(step)[-2000:]) for step in failed]}"
    for builder in ("install-deb", "install-rpm"):
        build = buildbot.wait_for_first_build(builder, SECONDS)
        assert "with Boost 1." in buildbot.log(buildbot.steps(build)[-1])
    artifacts = buildbot.directory / "artifacts/1"
    kept = sorted(file.name for file in artifacts.iterdir())
    packages = ["hello-boost-1.0-1.x86_64.rpm", "hello-boost-1.0.tar.gz", "hello-boost-dbgsym_1.0-1_amd64.deb", "hello-boost_1.0-1_amd64.deb"]
    assert kept == packages
    with tarfile.open(artifacts / "hello-boost-1.0.tar.gz") as tarball:
        assert "hello-boost-1.0/debian/rules" in tarball.getnames()


def test_a_bake_on_machines_that_are_made_for_it(tmp_path: Path) -> None:
    (tmp_path / "instances").mkdir()
    with api(tmp_path / "instances") as driver:
        with master(tmp_path / "master", {**FILES, "secrets/driver-token": TOKEN}, {"LOITSUT_DRIVER": driver.url}) as buildbot:
            bake(buildbot)
            driver.wait(lambda: all(one["state"] == "ended" for one in driver.requests.values()))
        # A machine for each build, and what was installed was never on the machine that built it.
        assert sorted(one["profile"] for one in driver.requests.values()) == ["bakery-deb"] * 2 + ["bakery-rpm"] + ["clean"] * 2


def test_the_same_on_hosts_that_are_always_there(tmp_path: Path) -> None:
    example = (EXAMPLE / "master.cfg").read_text()
    assert example.count("workers.latent()") == 1
    passwords = {name: secrets.token_urlsafe(16) for name in ("deb-1", "deb-2", "rpm-1", "clean-deb-1", "clean-rpm-1")}
    files = FILES | {"master.cfg": example.replace("workers.latent()", "workers.static()")}
    files |= {f"secrets/{name}": password for name, password in passwords.items()}
    with master(tmp_path / "master", files, {}) as buildbot, contextlib.ExitStack() as hosts:
        for name, password in passwords.items():
            worker = throw_away_worker(tmp_path / name, f"127.0.0.1:{buildbot.worker_port}", name, password)
            hosts.callback(worker.wait)
            hosts.callback(worker.kill)
        bake(buildbot)
