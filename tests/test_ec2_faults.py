"""EC2 when it is out of room, slow, forgetful, late, or not there: what the driver makes of it."""

import json
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ec2 import CAPACITY, REFUSED, UNKNOWN, UNREACHABLE, Driver
from lab.faults import faulty
from lab.moto import Keys, Moto, moto


@pytest.fixture(scope="module")
def account(tmp_path_factory) -> Iterator[Moto]:
    with moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture
def driver(account: Moto, tmp_path: Path) -> Iterator[Driver]:
    with faulty(account.port) as proxy:
        yield Driver(tmp_path, account, proxy)


@pytest.fixture
def launch() -> str:
    return f"l-{uuid.uuid4().hex[:12]}"


def made(driver: Driver, launch: str) -> list[str]:
    """The instances that moto has of a launch."""
    tag = {"Key": "loitsut:launch", "Value": launch}
    return [instance["InstanceId"] for instance in driver.moto.instances() if tag in instance["Tags"]]


@pytest.mark.parametrize("code", [
    "InsufficientInstanceCapacity", "SpotMaxPriceTooLow", "MaxSpotInstanceCountExceeded", "VcpuLimitExceeded",
    "InstanceLimitExceeded", "Unsupported", "InsufficientFreeAddressesInSubnet",
])
def test_the_next_rung_is_tried_where_there_is_no_room(driver: Driver, launch: str, code: str) -> None:
    driver.pool = {"instance_types": ["c7a.large", "c6a.large"], "spot": "prefer"}
    driver.proxy.refuse("RunInstances", code, "no room", status=500 if code.startswith("Insufficient") else 400, times=3)
    started = driver.start(launch).instance
    assert (started["type"], started["price"]) == ("c6a.large", "on-demand")
    tried = [(asked["InstanceType"], "InstanceMarketOptions.MarketType" in asked)
             for asked in driver.proxy.called("RunInstances")]
    assert tried == [("c7a.large", True), ("c6a.large", True), ("c7a.large", False), ("c6a.large", False)]
    assert len({asked["ClientToken"] for asked in driver.proxy.called("RunInstances")}) == 4


def test_no_room_anywhere_is_told_with_every_refusal(driver: Driver, launch: str) -> None:
    driver.pool = {"instance_types": ["c7a.large", "c6a.large"]}
    driver.proxy.refuse("RunInstances", "InsufficientInstanceCapacity", "none left", status=500, InstanceType="c7a.large")
    driver.proxy.refuse("RunInstances", "Unsupported", "not here", InstanceType="c6a.large")
    answer = driver.start(launch)
    assert answer.status == CAPACITY and made(driver, launch) == []
    assert "c7a.large on-demand: InsufficientInstanceCapacity: none left" in answer.words
    assert "c6a.large on-demand: Unsupported: not here" in answer.words


def test_what_is_nowhere_supported_is_no_lack_of_room(driver: Driver, launch: str) -> None:
    driver.proxy.refuse("RunInstances", "Unsupported", "not here")
    answer = driver.start(launch)
    assert answer.status == REFUSED and "nowhere is there what is wanted for pool p" in answer.words


def test_an_answer_that_is_lost_is_asked_for_again_and_makes_no_second_one(driver: Driver, launch: str) -> None:
    driver.pool = {"instance_types": ["c7a.large", "c6a.large"]}
    driver.proxy.lose("RunInstances", times=2)
    started = driver.start(launch).instance["id"]
    assert made(driver, launch) == [started]
    assert len({asked["ClientToken"] for asked in driver.proxy.called("RunInstances")}) == 1


def test_an_outcome_that_stays_unknown_is_told_and_found_later(driver: Driver, launch: str) -> None:
    driver.pool = {"instance_types": ["c7a.large", "c6a.large"]}
    driver.proxy.lose("RunInstances", times=3)
    answer = driver.start(launch)
    assert answer.status == UNKNOWN and "RunInstances: no answer" in answer.words and driver.proxy.url in answer.words
    assert {asked["InstanceType"] for asked in driver.proxy.called("RunInstances")} == {"c7a.large"}
    assert made(driver, launch) == [driver.start(launch).instance["id"]], "the same token, by another process"


@pytest.mark.parametrize(("status", "body"), [
    (500, "<Response><Errors><Error><Code>InternalError</Code><Message>x</Message></Error></Errors></Response>"),
    (503, "<Response><Errors><Error><Code>Unavailable</Code><Message>x</Message></Error></Errors></Response>"),
    (502, "<html>bad gateway</html>"),
])
def test_troubles_of_aws_are_tried_again(driver: Driver, launch: str, status: int, body: str) -> None:
    driver.proxy.answer("RunInstances", body, status=status, times=2)
    assert driver.start(launch).status == 0
    driver.proxy.answer("DescribeInstances", body, status=status, times=3)
    answer = driver.ask("list")
    assert answer.status == UNREACHABLE and f"{status}" in answer.words


def test_an_answer_of_a_stranger_is_not_believed(driver: Driver, launch: str) -> None:
    driver.proxy.answer("RunInstances", "<html>welcome to the hotel's network</html>")
    answer = driver.start(launch)
    assert answer.status == UNKNOWN and "cannot be read" in answer.words


@pytest.mark.parametrize("code", ["RequestLimitExceeded", "Throttling"])
def test_throttled_calls_come_again(driver: Driver, launch: str, code: str) -> None:
    driver.proxy.refuse("RunInstances", code, "Request limit exceeded.", status=503, times=2)
    answer = driver.start(launch)
    assert answer.status == 0 and answer.words.count(code) == 2, answer.words
    assert len(driver.proxy.called("RunInstances")) == 3


def test_what_stays_throttled_is_told(driver: Driver) -> None:
    driver.proxy.refuse("DescribeInstances", "RequestLimitExceeded", status=503, times=100)
    answer = driver.ask("list")
    assert answer.status == UNREACHABLE and "RequestLimitExceeded" in answer.words
    assert len(driver.proxy.called("DescribeInstances")) == 5


def test_not_found_right_after_the_launch(driver: Driver, launch: str) -> None:
    started = driver.start(launch).instance["id"]
    driver.proxy.refuse("TerminateInstances", "InvalidInstanceID.NotFound", f"The instance ID '{started}' does not exist")
    assert driver.stop(launch, id=started).status == 0, "gone, or not yet there: the list tells, and a stop is repeated"
    assert driver.stop(launch, id=started).status == 0
    [listed] = [instance for instance in driver.list() if instance["launch"] == launch]
    assert listed["state"] == "ended"


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_clock_that_is_off_is_corrected(driver: Driver, launch: str, hours: int) -> None:
    driver.proxy.clock = timedelta(hours=hours)
    answer = driver.start(launch)
    assert answer.status == 0, answer.words
    assert "the clock of this machine differs from AWS's" in answer.words
    assert len(driver.proxy.called("DescribeImages")) == 2 and len(driver.proxy.called("RunInstances")) == 1


def test_credentials_that_have_ended_are_renewed(driver: Driver, launch: str, tmp_path: Path) -> None:
    old = Keys("AKIAOLD0000000000000", "old-secret-that-nobody-must-see")
    driver.proxy.ended_keys = {old.access}
    program = tmp_path / "credentials"
    answers = [{"Version": 1, "AccessKeyId": keys.access, "SecretAccessKey": keys.secret}
               for keys in (old, driver.moto.driver)]
    # The first time it has the old ones.
    program.write_text(f"""#!/bin/sh
if mkdir {tmp_path}/asked; then echo '{json.dumps(answers[0])}'; else echo '{json.dumps(answers[1])}'; fi
""")
    program.chmod(0o755)
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text(f"[profile ci]\ncredential_process = {program}\n")
    driver.provider = {"aws_profile": "ci"}
    answer = driver.start(launch, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert answer.status == 0, answer.words
    assert [call.key for call in driver.proxy.calls][:2] == [old.access, driver.moto.driver.access]
    assert old.secret not in answer.words and driver.moto.driver.secret not in answer.words


def test_credentials_that_have_ended_for_good_are_told(driver: Driver) -> None:
    driver.proxy.ended_keys = {driver.moto.driver.access}
    answer = driver.ask("list")
    assert answer.status == UNREACHABLE and "ExpiredToken" in answer.words and "renew them" in answer.words


def test_no_credentials_at_all_is_told_at_once(driver: Driver) -> None:
    answer = driver.ask("list", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", AWS_EC2_METADATA_DISABLED="true")
    assert answer.status == REFUSED and "no credentials" in answer.words and "aws_profile" in answer.words
    assert not driver.proxy.calls


def test_an_endpoint_that_is_down_is_named(driver: Driver, launch: str) -> None:
    driver.provider = {"endpoint_url": "http://127.0.0.1:9"}
    for answer in (driver.start(launch), driver.ask("list"), driver.stop(launch, id="i-1")):
        assert answer.status == UNREACHABLE and "http://127.0.0.1:9/ cannot be reached" in answer.words


def test_a_long_list_comes_in_pages(driver: Driver) -> None:
    def page(number: int, following: str) -> str:
        tags = f"<item><key>loitsut:launch</key><value>l-{number}</value></item>"
        return (
            "<DescribeInstancesResponse><reservationSet><item><instancesSet><item>"
            f"<instanceId>i-{number}</instanceId><instanceState><name>running</name></instanceState>"
            f"<tagSet>{tags}</tagSet></item></instancesSet></item></reservationSet>{following}</DescribeInstancesResponse>"
        )

    driver.proxy.answer("DescribeInstances", page(1, "<nextToken>second</nextToken>"))
    driver.proxy.answer("DescribeInstances", page(2, "<nextToken/>"), NextToken="second")
    assert [instance["launch"] for instance in driver.list()] == ["l-1", "l-2"]


def test_an_instance_that_the_cloud_took_back_says_so(driver: Driver) -> None:
    driver.proxy.answer("DescribeInstances", """<DescribeInstancesResponse><reservationSet><item><instancesSet>
        <item><instanceId>i-1</instanceId><instanceState><name>terminated</name></instanceState>
        <instanceLifecycle>spot</instanceLifecycle><reason>Server.SpotInstanceTermination</reason>
        <stateReason><code>Server.SpotInstanceTermination</code>
        <message>Server.SpotInstanceTermination: Spot instance termination</message></stateReason>
        <tagSet><item><key>loitsut:launch</key><value>l-1</value></item></tagSet></item>
        <item><instanceId>i-2</instanceId><instanceState><name>running</name></instanceState></item>
        </instancesSet></item></reservationSet></DescribeInstancesResponse>""")
    [listed] = driver.list()
    assert listed["state"] == "ended" and listed["price"] == "spot"
    assert listed["reason"].startswith("spot interruption (Server.SpotInstanceTermination")
