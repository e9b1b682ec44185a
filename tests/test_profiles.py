"""The shipped profiles and layers: on every distribution that they are for, whatever they name is there."""

import json
import re
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from lab import base
from lab.buildbot import Master, example_master
from lab.instance import HOST, Instance, instance
from lab.paths import REPO, VENV
from tables import layers
from tables.tree import Tree, tree

PROFILES = sorted(file.stem for file in (REPO / "profiles").glob("*.toml"))
LAYERS = sorted(str(file.relative_to(REPO / "profiles/layers").with_suffix("")) for file in
                (REPO / "profiles/layers").rglob("*.toml"))

# Parameters that change which packages are wanted, with versions that the release has.
OTHERS = {
    "bookworm": {"clang_version": "16", "boost_version": "1.81", "branch": "11.8"},
    "trixie": {"clang_version": "17", "boost_version": "1.83", "branch": "11.8"},
}

# os-release(5) as these have it.
SYSTEMS = {
    "debian-12": 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n',
    "debian-13": 'ID=debian\nVERSION_ID="13"\nVERSION_CODENAME=trixie\n',
    "ubuntu-22.04": 'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="22.04"\nVERSION_CODENAME=jammy\n',
    "ubuntu-24.04": 'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\n',
}

# The oldest Python of each, and the glibc beside it.
PYTHONS = {"ubuntu-22.04": ("3.10", "2_35"), "debian-12": ("3.11", "2_36"), "ubuntu-24.04": ("3.12", "2_39"),
           "debian-13": ("3.13", "2_40")}

BOOT_SECONDS = 600


@dataclass
class Release:
    """A Debian release: its base tree with the lists of all packages it has."""

    suite: str
    inside: Tree


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def release(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, apt_port: int, baked: Path
) -> Iterator[Release]:
    suite = request.param
    bare = base.make(suite)
    lists = layers.debian(tmp_path_factory.mktemp(suite) / "lists", apt_port, bare)
    with tree(lists, baked, base=bare) as inside:
        yield Release(suite, inside)


@pytest.mark.parametrize("others", [False, True], ids=["as shipped", "with other versions"])
def test_the_packages_of_all_layers_are_there(release: Release, others: bool) -> None:
    params = OTHERS[release.suite] if others else {}
    wanted = set().union(*(missing(release.inside, layer, params) for layer in LAYERS))
    assert {"git", "g++", "python3-venv", "default-jdk" if others else "libboost-atomic-dev"} <= wanted
    done = release.inside.run("apt-get", "--simulate", "install", "--no-install-recommends", *sorted(wanted))
    assert done.returncode == 0, done.stdout + done.stderr


def missing(inside: Tree, layer: str, params: dict[str, str]) -> set[str]:
    """The packages that a layer wants of a machine that has none of them, by the plan; no parameter is unknown."""
    inside.put("/etc/loitsut/profiles/alone.toml", f'layers = ["{layer}"]\n')
    known = {name: value for name, value in params.items() if f"[params.{name}]" in text_of(layer)}
    words = [word for name, value in known.items() for word in ("--param", f"{name}={value}")]
    planned = inside.run("loitsut", "plan", "alone", *words)
    assert planned.returncode == 2, planned.stdout + planned.stderr
    return set(re.findall(r"(\S+) is missing", "\n".join(
        line for line in planned.stdout.splitlines() if line.startswith("differs  packages"))))


def text_of(layer: str) -> str:
    """A layer and all that it requires, as written."""
    text = (REPO / f"profiles/layers/{layer}.toml").read_text()
    required = re.search(r"^requires = \[(.*)\]", text, re.MULTILINE)
    return text + "".join(map(text_of, re.findall(r'"(.*?)"', required[1]) if required else []))


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_profile_and_layer_resolves(baked: Path, system: str) -> None:
    with tree(baked) as inside:
        inside.script("rm /etc/os-release")
        inside.put("/etc/os-release", SYSTEMS[system])
        for profile in PROFILES:
            planned = inside.run("loitsut", "plan", profile)
            assert planned.returncode == 2, planned.stderr
        for layer in LAYERS:
            missing(inside, layer, {})


@pytest.mark.parametrize("system", PYTHONS)
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_worker_has_a_wheel_for_every_python(system: str, machine: str, tmp_path: Path) -> None:
    python, glibc = PYTHONS[system]
    done = subprocess.run(
        [VENV / "bin/uv", "pip", "install", "--dry-run", "--system-certs", "--require-hashes", "--only-binary=:all:",
         f"--python-version={python}", f"--python-platform={machine}-manylinux_{glibc}", f"--target={tmp_path}",
         "--requirements", REPO / "profiles/files/buildbot-worker.txt"],
        capture_output=True, text=True, timeout=120,
    )
    assert done.returncode == 0 and "buildbot-worker==" in done.stderr, done.stderr


# What no build machine may start by itself.
UPGRADERS = ["apt-daily.timer", "apt-daily-upgrade.timer", "apt-daily.service", "apt-daily-upgrade.service",
             "unattended-upgrades.service"]

# Another launch of the same machine: by user-data that lies in a folder.
LAUNCH_AGAIN = """\
mkdir -p /srv/metadata
echo 'metadata = "/srv/metadata"' >/etc/loitsut/agent.toml
printf '%s' "$1" >/srv/metadata/user-data
systemctl restart loitsut.service
loitsut status --wait
"""


@pytest.fixture(scope="module")
def trixie(tmp_path_factory: pytest.TempPathFactory, baked: Path, apt_port: int) -> Iterator[tuple[Instance, Master]]:
    """A Debian 13 with nothing but a worker, and its master."""
    bare, password, launch = base.make("trixie"), secrets.token_urlsafe(24), f"trixie-{secrets.token_hex(4)}"
    image = tmp_path_factory.mktemp("image")
    (image / "etc/loitsut/profiles").mkdir(parents=True)
    for name in ("buildbot", "command"):
        (image / f"etc/loitsut/profiles/{name}.toml").write_text(f'layers = ["worker/{name}"]\n')
    with example_master(tmp_path_factory.mktemp("master") / "master", {"cpp-1": password}) as buildbot:
        user_data = json.dumps({
            "loitsut": 1, "profile": "buildbot", "params": {"apt_proxy": f"http://{HOST}:{apt_port}"},
            "worker": {"master": f"{HOST}:{buildbot.worker_port}", "name": "cpp-1", "password": password},
        }).encode()
        with instance(launch, user_data, [baked, image], "tests", bare) as inside:
            inside.wait_until_reachable()
            ended = inside.run("loitsut", "status", "--wait", capture=True, timeout=BOOT_SECONDS)
            assert ended.returncode == 0, inside.run("journalctl", "--unit=loitsut.service", capture=True).stdout
            yield inside, buildbot


def output(inside: Instance, *command: str) -> str:
    done = inside.run(*command, capture=True)
    return done.stdout + done.stderr


def test_a_debian_13_becomes_a_worker(trixie: tuple[Instance, Master]) -> None:
    inside, buildbot = trixie
    assert output(inside, "cat", "/etc/debian_version").startswith("13")
    buildbot.wait_for_worker("cpp-1", 30)


def test_applying_again_changes_nothing_there(trixie: tuple[Instance, Master]) -> None:
    assert output(trixie[0], "loitsut", "apply").endswith("nothing to change\n")


def test_nothing_else_takes_the_package_lock(trixie: tuple[Instance, Master]) -> None:
    assert output(trixie[0], "systemctl", "is-enabled", *UPGRADERS).split() == ["masked"] * len(UPGRADERS)
    assert output(trixie[0], "systemctl", "is-active", *UPGRADERS).split() == ["inactive"] * len(UPGRADERS)


def test_a_worker_finds_what_programs_expect_around_them(trixie: tuple[Instance, Master]) -> None:
    inside = trixie[0]
    pid = output(inside, "systemctl", "show", "--property=MainPID", "--value", "loitsut-worker.service").strip()
    environment = dict(line.split("=", 1) for line in output(inside, "cat", f"/proc/{pid}/environ").split("\0") if line)
    home = "/var/lib/buildbot-worker"
    expected = {"HOME": home, "USER": "buildbot", "LOGNAME": "buildbot", "SHELL": "/bin/bash", "LANG": "C.UTF-8"}
    assert expected.items() <= environment.items()
    assert {"/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin"} <= set(environment["PATH"].split(":"))
    assert "Umask:\t0022" in output(inside, "cat", f"/proc/{pid}/status")
    assert output(inside, "readlink", f"/proc/{pid}/cwd").strip() == home
    # C.UTF-8 is there, and what its name promises.
    assert output(inside, "env", f"LANG={environment['LANG']}", "locale", "charmap") == "UTF-8\n"


def test_a_command_becomes_a_worker(trixie: tuple[Instance, Master]) -> None:
    params = {"worker_command": "sh -c 'echo \"$0 $USER $PWD\"; exec sleep infinity' agent", "worker_ready": "agent worker"}
    user_data = json.dumps({"loitsut": 1, "profile": "command", "params": params})
    said = output(trixie[0], "sh", "-euc", LAUNCH_AGAIN, "sh", user_data)
    assert "ready" in said, said
    lines = output(trixie[0], "journalctl", "--unit=loitsut-worker.service", "--output=cat").splitlines()
    assert "agent worker /var/lib/worker" in lines
