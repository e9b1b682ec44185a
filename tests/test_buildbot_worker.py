"""The latent worker in a real Buildbot master: what becomes of builds, machines and pages."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from driver_api import TOKEN, Api, api
from lab.buildbot import Master, master

MASTER_CFG = '''
import os
from pathlib import Path
from buildbot.plugins import schedulers, secrets, steps, util, worker

c = BuildmasterConfig = {"title": "test", "buildbotNetUsageData": None, "buildbotURL": os.environ["BUILDBOT_URL"]}
c["protocols"] = {"pb": {"port": "tcp:" + os.environ["BUILDBOT_WORKER_PORT"] + ":interface=127.0.0.1"}}
c["www"] = {"port": os.environ["BUILDBOT_WEB_PORT"]}
c["secretsProviders"] = [secrets.SecretInAFile(dirname=str(Path(__file__).parent / "secrets"))]
c["workers"] = [worker.LoitsutLatentWorker(
    "w-1", pool="small", profile=util.Property("profile", default="cpp"), driver=os.environ["DRIVER_URL"],
    token=util.Secret("driver-token"), owner="ci", params={"branch": util.Property("branch"), "opt": "x"},
    secrets={"key": util.Secret("driver-token")}, lease={"idle": "30m"}, check_instance_interval=1,
    master_address="127.0.0.1:" + os.environ["BUILDBOT_WORKER_PORT"], **eval(os.environ.get("WORKER_OPTIONS", "{}")),
)]
def builder(name, properties):
    factory = util.BuildFactory([steps.ShellCommand(command=util.Interpolate("%(prop:run)s"), name="run")])
    return util.BuilderConfig(name=name, workernames=["w-1"], factory=factory, properties=properties)
good = {"run": os.environ.get("RUN", "true")}
c["builders"] = [builder("good", good), builder("again", good), builder("other", {**good, "profile": "mariadb-deb"})]
c["schedulers"] = [schedulers.ForceScheduler(name="force", builderNames=["good", "again", "other"])]
'''


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Api]:
    (tmp_path / "instances").mkdir()
    with api(tmp_path / "instances") as running:
        yield running


class Bench:
    """Runs masters of the configuration above, one after another in one directory."""

    def __init__(self, directory: Path, driver: Api) -> None:
        self.directory = directory
        self.driver = driver

    def master(self, **environment: str) -> Any:
        files = {"master.cfg": MASTER_CFG, "secrets/driver-token": TOKEN}
        return master(self.directory / "master", files, environment | {"DRIVER_URL": self.driver.url})


@pytest.fixture
def bench(tmp_path: Path, driver: Api) -> Bench:
    return Bench(tmp_path, driver)


def build(buildbot: Master, builder: str = "good") -> dict[str, Any]:
    return buildbot.wait_for_build(buildbot.force(builder), 60, on_step=lambda _: None)


def transcript(buildbot: Master, ended: dict[str, Any]) -> str:
    return buildbot.log(buildbot.steps(ended)[0], "boot")


def only(driver: Api) -> str:
    """The one request there is."""
    return driver.wait(lambda: next(iter(driver.requests), None))


def test_a_build_has_a_clean_machine_of_its_own(driver: Api, bench: Bench) -> None:
    with bench.master() as buildbot:
        driver.wait(lambda: "ci" in driver.listeners)
        first = build(buildbot)
        second = build(buildbot)
        assert (first["results"], second["results"]) == (0, 0)
        driver.wait(lambda: all(one["state"] == "ended" for one in driver.requests.values()))
        one, two = driver.bodies.values()
        assert one["worker"]["password"] != two["worker"]["password"]
        assert len(one["worker"]["password"]) >= 32
        # A parameter that renders to nothing is left to the profile.
        assert (one["pool"], one["profile"], one["params"], one["lease"]) == ("small", "cpp", {"opt": "x"}, {"idle": "30m"})
        assert one["secrets"] == {"key": TOKEN}
        properties = buildbot.properties(first)
        assert properties["loitsut_instance"] == f"i-{one['id']}"
        assert properties["loitsut_image"] == "debian-12"
        assert properties["loitsut_profile_digest"] == "d1"
        assert properties["loitsut_price"] == "spot"
        text = transcript(buildbot, first)
        assert "[toolchain/gcc] packages apt g++: changed (missing), 900 ms" in text
        for secret in (one["worker"]["password"], TOKEN):
            assert secret not in text
            assert secret not in buildbot.twistd_log()
        # Three calls and what is asked at changes; not a poll each second.
        assert len([call for call in driver.calls if one["id"] in call[1]]) < 12
    driver.wait(lambda: not driver.listeners)


def test_a_failure_of_the_profile_ends_the_build_and_blocks_nobody(driver: Api, bench: Bench) -> None:
    def play(request: str) -> None:
        if driver.requests[request]["profile"] == "cpp":
            return driver.boot(request)
        driver.fail(
            request, **{"class": "profile", "permanent": True}, message="apt-get failed", layer="deps/boost", exit_code=100,
            resource="packages apt libbost-dev", output=["E: Unable to locate package libbost-dev\x1b[2J"],
        )

    driver.play = play
    with bench.master() as buildbot:
        bad = build(buildbot, "other")
        assert bad["results"] == 4, bad["state_string"]
        text = transcript(buildbot, bad)
        assert "layer deps/boost, resource packages apt libbost-dev, exit code 100" in text
        assert "E: Unable to locate package libbost-dev" in text
        assert "\x1b" not in text
        assert build(buildbot)["results"] == 0
        assert "quarantine" not in buildbot.twistd_log()


def test_a_request_that_is_refused_ends_the_build(driver: Api, bench: Bench) -> None:
    driver.refusal = lambda _body: (422, {"error": "no profile cpp", "diagnostics": ["cpp.toml:3: unknown layer deps/bost"]})
    with bench.master() as buildbot:
        ended = build(buildbot)
        assert ended["results"] == 4
        assert "cpp.toml:3: unknown layer deps/bost" in transcript(buildbot, ended)


def test_a_machine_that_never_joined_is_tried_again(driver: Api, bench: Bench) -> None:
    def play(request: str) -> None:
        if len(driver.requests) == 1:
            driver.fail(request, message="it never reported")
        else:
            driver.boot(request)

    driver.play = play
    with bench.master() as buildbot:
        request = buildbot.force("good")
        driver.wait(lambda: len(driver.requests) == 2 and all(one["state"] == "ended" for one in driver.requests.values()))
        first, second = buildbot.builds_of(request, 2)
        assert (first["results"], second["results"]) == (5, 0)


def test_waiting_for_capacity_is_no_failure(driver: Api, bench: Bench) -> None:
    def play(request: str) -> None:
        driver.set(request, "waiting", failure={"class": "capacity", "permanent": False, "message": "no c7a.large anywhere"})
        driver.wait(lambda: ("GET", f"/v1/requests/{request}") in driver.calls)
        driver.set(request, "waiting", failure=None)
        driver.boot(request)

    driver.play = play
    with bench.master() as buildbot:
        ended = build(buildbot)
        assert ended["results"] == 0
        assert len(driver.requests) == 1
        assert "no c7a.large anywhere" in transcript(buildbot, ended)


def test_a_build_that_is_stopped_while_it_waits_leaves_no_request(driver: Api, bench: Bench) -> None:
    driver.play = lambda request: driver.set(request, "booting")
    with bench.master() as buildbot:
        forced = buildbot.force("good")
        request = only(driver)
        driver.wait_for_state(request, "booting")
        buildbot.stop_build(buildbot.builds_of(forced, 1, complete=False)[0])
        driver.wait_for_state(request, "ended")


def test_a_driver_that_is_down_is_waited_for(driver: Api, bench: Bench) -> None:
    with bench.master() as buildbot:
        driver.close()
        forced = buildbot.force("good")
        running = buildbot.builds_of(forced, 1, complete=False)[0]
        buildbot.wait_for_log(running, "boot", "asked again for")
        driver.open()
        assert buildbot.wait_for_build(forced, 60, on_step=lambda _: None)["results"] == 0
        assert len(driver.requests) == 1


def test_a_driver_that_restarts_loses_no_build(driver: Api, bench: Bench) -> None:
    def play(request: str) -> None:
        driver.set(request, "booting")
        driver.wait(lambda: ("GET", f"/v1/requests/{request}") in driver.calls)
        driver.close()
        driver.open()
        driver.boot(request)

    driver.play = play
    with bench.master() as buildbot:
        assert build(buildbot)["results"] == 0


def test_a_machine_that_is_lost_has_its_build_retried_at_once(driver: Api, bench: Bench, tmp_path: Path) -> None:
    with bench.master(RUN=f"test {tmp_path}/never -ef / || sleep 600") as buildbot:
        forced = buildbot.force("good")
        request = only(driver)
        driver.wait_for_state(request, "ready")
        running = buildbot.builds_of(forced, 1, complete=False)[0]
        buildbot.wait_for_step(running, "run")
        driver.set(request, "ended", outcome="lost", failure={"class": "lost", "permanent": False, "message": "spot took it"})
        assert buildbot.builds_of(forced, 1)[0]["results"] == 5


def test_what_a_killed_master_left_is_ended(driver: Api, bench: Bench) -> None:
    driver.play = lambda request: driver.set(request, "booting")
    with bench.master() as buildbot:
        buildbot.force("good")
        left = only(driver)
        driver.wait_for_state(left, "booting")
        buildbot.kill()
    driver.play = driver.boot
    with bench.master() as buildbot:
        driver.wait_for_state(left, "ended")
        # Buildbot takes up the build of the master that was killed.
        driver.wait(lambda: any(one != left and driver.has_worker(one) for one in driver.requests))


def test_a_machine_is_reused_until_something_else_is_wanted(driver: Api, bench: Bench) -> None:
    with bench.master(WORKER_OPTIONS="{'build_wait_timeout': 3600}") as buildbot:
        first, second = build(buildbot), build(buildbot, "again")
        assert len(driver.requests) == 1
        assert buildbot.properties(second)["loitsut_instance"] == buildbot.properties(first)["loitsut_instance"]
        third = build(buildbot, "other")
        assert third["results"] == 0
        assert [one["profile"] for one in driver.requests.values()] == ["cpp", "mariadb-deb"]
        assert buildbot.properties(third)["loitsut_instance"] != buildbot.properties(first)["loitsut_instance"]


def test_a_reconfiguration_leaves_a_machine_that_is_up_alone(driver: Api, bench: Bench) -> None:
    def play(request: str) -> None:
        driver.set(request, "booting")
        driver.wait(lambda: ("test", "reconfigured") in driver.calls)
        driver.boot(request)

    driver.play = play
    with bench.master() as buildbot:
        forced = buildbot.force("good")
        driver.wait_for_state(only(driver), "booting")
        buildbot.reconfigure("lease={\"idle\": \"30m\"}", "lease={\"idle\": \"20m\"}")
        with driver._came:
            driver.calls.append(("test", "reconfigured"))
            driver._came.notify_all()
        assert buildbot.wait_for_build(forced, 60, on_step=lambda _: None)["results"] == 0
        assert len(driver.requests) == 1


@pytest.mark.parametrize("options, words", [
    ("{'password': 'x'}", "leave `password` out"),
    ("{'notify_on_missing': 3}", "notify_on_missing"),
])
def test_a_mistake_in_the_configuration_is_named(bench: Bench, options: str, words: str) -> None:
    with pytest.raises(RuntimeError, match=words), bench.master(WORKER_OPTIONS=options):
        pass
