"""Instances of EC2, at moto with its checks of signatures and permissions: what is asked for, and what is told."""

import base64
import json
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ec2 import REFUSED, Driver, image
from lab.faults import faulty
from lab.moto import Keys, Moto, moto, policy
from lab.paths import DIST, REPO


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


def test_an_instance_from_start_to_end(driver: Driver, launch: str) -> None:
    ec2 = driver.moto.client("ec2")
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
    driver.pool = {"subnets": [subnet], "security_groups": [group], "disk": "60G", "tags": {"team": "ci"}}
    started = driver.start(launch, b"data of a launch").instance
    assert started["launch"] == launch and started["type"] == "c5.large" and started["price"] == "on-demand"

    [made] = [instance for instance in driver.moto.instances() if instance["InstanceId"] == started["id"]]
    tags = {"loitsut:driver": "loitsut", "loitsut:pool": "p", "loitsut:launch": launch, "Name": f"name-{launch}",
            "team": "ci"}
    assert {tag["Key"]: tag["Value"] for tag in made["Tags"]} == tags
    assert made["SubnetId"] == subnet and made["SecurityGroups"][0]["GroupId"] == group
    volume = made["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    [volume] = ec2.describe_volumes(VolumeIds=[volume])["Volumes"]
    assert volume["Size"] == 60
    assert {tag["Key"]: tag["Value"] for tag in volume["Tags"]} == tags
    data = ec2.describe_instance_attribute(InstanceId=started["id"], Attribute="userData")["UserData"]["Value"]
    assert base64.b64decode(data) == b"data of a launch"

    [asked] = driver.proxy.called("RunInstances")
    assert asked["MetadataOptions.HttpTokens"] == "required"
    assert asked["MetadataOptions.HttpPutResponseHopLimit"] == "1"
    assert asked["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert not any(name.startswith("KeyName") for name in asked)

    [listed] = [instance for instance in driver.list() if instance["launch"] == launch]
    assert listed["state"] == "running" and listed["id"] == started["id"] and listed["zone"].startswith("eu-north-1")
    assert driver.ask("console", {"id": started["id"]}).status == 0
    assert driver.stop(launch, id=started["id"]).status == 0
    [listed] = [instance for instance in driver.list() if instance["launch"] == launch]
    assert listed["state"] == "ended" and "terminated by a call" in listed["reason"]
    assert driver.stop(launch, id=started["id"]).status == 0, "already gone is fine"


def test_a_launch_is_stopped_by_its_tag_and_others_are_not_seen(driver: Driver, launch: str) -> None:
    own, others = driver.start(launch).instance["id"], f"{launch}-b"
    driver.name = "another"
    assert driver.list() == []
    assert driver.stop(launch).status == 0, "it sees no such launch"
    ended = driver.start(others).instance["id"]
    assert driver.stop(others).status == 0
    assert [(instance["id"], instance["state"]) for instance in driver.list()] == [(ended, "ended")]
    states = {instance["InstanceId"]: instance["State"]["Name"] for instance in driver.moto.instances()}
    assert states[ended] == "terminated" and states[own] == "running"


def test_spot_a_public_address_and_a_profile_are_asked_for(driver: Driver, launch: str) -> None:
    driver.moto.client("iam").create_instance_profile(InstanceProfileName="builders")
    driver.pool = {"spot": "only", "public_ip": True, "instance_profile": "builders", "metadata_ipv6": True}
    assert driver.start(launch).instance["price"] == "spot"
    [asked] = driver.proxy.called("RunInstances")
    assert asked["InstanceMarketOptions.MarketType"] == "spot"
    assert asked["InstanceMarketOptions.SpotOptions.SpotInstanceType"] == "one-time"
    assert asked["InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior"] == "terminate"
    assert asked["NetworkInterface.1.AssociatePublicIpAddress"] == "true"
    assert asked["IamInstanceProfile.Name"] == "builders"
    assert asked["MetadataOptions.HttpProtocolIpv6"] == "enabled"


def test_an_image_is_named_by_what_it_is(driver: Driver, launch: str) -> None:
    own = image(driver.moto)
    # moto forgets when an image was made, and for what.
    images = [("ami-zz", "2024-01-01"), (own, "2026-01-01"), ("ami-aa", "2025-01-01")]
    driver.proxy.answer("DescribeImages", images_of(images))
    driver.pool = {"image": "self/base-*"}
    assert driver.start(f"{launch}-1").instance["image"] == own
    asked = driver.proxy.called("DescribeImages")[0]
    filters = {asked[f"Filter.{n}.Name"]: asked[f"Filter.{n}.Value.1"] for n in (1, 2, 3)}
    assert filters == {"name": "base-*", "architecture": "x86_64", "state": "available"} and asked["Owner.1"] == "self"

    driver.moto.client("ssm").put_parameter(Name=f"/images/{launch}", Value=own, Type="String")
    driver.pool = {"image": f"ssm:/images/{launch}"}
    assert driver.start(f"{launch}-2").instance["image"] == own


def test_an_image_for_other_processors_is_refused(driver: Driver, launch: str) -> None:
    driver.proxy.answer("DescribeImages", images_of([("ami-1", "2026-01-01")]))
    driver.pool = {"image": "ami-1", "instance_types": ["c7g.large"]}
    answer = driver.start(launch)
    assert answer.status == REFUSED
    assert "image ami-1 is x86_64, and the instance types of the pool are arm64" in answer.words


def images_of(images: list[tuple[str, str]]) -> str:
    """DescribeImages' answer."""
    items = "".join(
        f"<item><imageId>{image}</imageId><creationDate>{date}T00:00:00.000Z</creationDate>"
        "<rootDeviceName>/dev/xvda</rootDeviceName><architecture>x86_64</architecture><later>unknown</later></item>"
        for image, date in images
    )
    return f"<DescribeImagesResponse><imagesSet>{items}</imagesSet></DescribeImagesResponse>"


@pytest.mark.parametrize(("pool", "words"), [
    ({"image": "ssm:/no/such"}, "there is no parameter /no/such in eu-north-1"),
    ({"image": "self/no-such-*"}, "no image of owner self has a name like no-such-* for x86_64"),
    ({"image": "ami-00000000"}, "ami-00000000"),
    ({"subnets": ["subnet-00000000"]}, "correct `subnets` of the pool"),
])
def test_what_does_not_exist_is_named(driver: Driver, launch: str, pool: dict, words: str) -> None:
    driver.pool = pool
    answer = driver.start(launch)
    assert answer.status == REFUSED and words in answer.words


@pytest.mark.parametrize(("pool", "words"), [
    ({"imagee": "ami-1"}, "unknown field `imagee`"),
    ({"image": "debian"}, "names no image"),
    ({"disk": "60"}, "whole gibibytes such as `60G`"),
    ({"spot": "maybe"}, "unknown variant `maybe`"),
    ({"instance_types": []}, "name at least one"),
    ({"instance_types": ["c7g.large", "c7a.large"]}, "c7g.large is arm64 and c7a.large is x86_64"),
    ({"tags": {"loitsut:driver": "x"}}, "is set by the driver"),
    ({"provider": "nowhere"}, "there is no [provider.nowhere]; there is aws"),
])
def test_a_wrong_pool_is_refused_before_anything_is_asked(driver: Driver, pool: dict, words: str) -> None:
    driver.pool = pool
    answer = driver.ask("list")
    assert answer.status == 1 and words in answer.words and "[pool.p]" in answer.words
    assert not driver.proxy.calls


def test_user_data_beyond_the_limit_is_refused_here(driver: Driver, launch: str) -> None:
    answer = driver.start(launch, b"x" * 16_385)
    assert answer.status == REFUSED and "16385 bytes, and EC2 takes 16384" in answer.words
    assert not driver.proxy.called("RunInstances")
    assert driver.start(launch, b"x" * 16_384).status == 0


@pytest.mark.parametrize(("action", "verb"), [
    ("ec2:RunInstances", "start"), ("ec2:DescribeImages", "start"), ("ssm:GetParameter", "start"),
    ("ec2:DescribeInstances", "list"), ("ec2:TerminateInstances", "stop"), ("ec2:GetConsoleOutput", "console"),
])
def test_a_missing_permission_is_named(driver: Driver, launch: str, action: str, verb: str) -> None:
    started = driver.start(launch).instance["id"]
    driver.keys = driver.moto.user(f"{launch}-less", policy(without=action))
    if action == "ssm:GetParameter":
        driver.pool = {"image": "ssm:/images/any"}
    requests = {
        "start": {"launch": f"{launch}-2", "pool": "p"}, "list": {},
        "stop": {"launch": launch, "id": started}, "console": {"id": started},
    }
    answer = driver.ask(verb, requests[verb])
    assert answer.status == REFUSED and f"allow {action} to these credentials" in answer.words


def test_wrong_credentials_are_refused_and_never_shown(driver: Driver, launch: str) -> None:
    secret = "verysecret0123456789"
    answer = driver.start(launch, AWS_SECRET_ACCESS_KEY=secret)
    assert answer.status == REFUSED and "or its secret is wrong" in answer.words
    assert secret not in answer.words
    answer = driver.start(launch, AWS_ACCESS_KEY_ID="AKIANOBODY0000000000")
    assert answer.status == REFUSED and "is not known there" in answer.words


def test_credentials_of_a_role_bear_their_token(driver: Driver, launch: str) -> None:
    iam, sts = driver.moto.client("iam"), driver.moto.client("sts")
    admin = {"AWS": iam.get_user(UserName="admin")["User"]["Arn"]}
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": admin}]}
    role = iam.create_role(RoleName=launch, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=launch, PolicyName="driver", PolicyDocument=json.dumps(policy()))
    made = sts.assume_role(RoleArn=role, RoleSessionName="driver")["Credentials"]
    driver.keys = Keys(made["AccessKeyId"], made["SecretAccessKey"])
    answer = driver.start(launch, AWS_SESSION_TOKEN=made["SessionToken"])
    assert answer.status == 0, answer.words
    assert driver.start(f"{launch}-2").status == REFUSED, "the key is nothing without it"


def test_the_example_of_the_documentation_is_right(driver: Driver) -> None:
    [example] = re.findall(r"```toml\n(.*?)```", (REPO / "docs/ec2.md").read_text(), re.DOTALL)
    path = driver.directory / "example.toml"
    path.write_text(example)
    command = [DIST / "loitsut-driver", "provider", "aws", "list", "--config", path]
    environment = {"HOME": str(driver.directory), "AWS_EC2_METADATA_DISABLED": "true"}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, stdin=subprocess.DEVNULL)
    assert ended.returncode == REFUSED and "no credentials" in ended.stderr, "all that is wrong is that nobody may ask"
