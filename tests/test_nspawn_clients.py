"""The metadata service of nspawn, asked by clients that were written for EC2's: they run in an instance's network."""

import json
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest
from lab.instance import HOST, Instance, instance, listed
from lab.paths import BASE

POOL = "clients"

USER_DATA = b"#!/bin/sh\n"

BOTOCORE = """
from botocore.utils import InstanceMetadataRegionFetcher
print(json.dumps(InstanceMetadataRegionFetcher(timeout=5).retrieve_region()))
"""

EC2_METADATA = """
from ec2_metadata import ec2_metadata as it
print(json.dumps({
    "account_id": it.account_id, "ami_id": it.ami_id, "ami_launch_index": it.ami_launch_index,
    "availability_zone": it.availability_zone, "availability_zone_id": it.availability_zone_id, "domain": it.domain,
    "iam_info": it.iam_info, "instance_action": it.instance_action, "instance_id": it.instance_id,
    "instance_type": it.instance_type, "interfaces": {mac: (one.device_number, one.private_ipv4s) for mac, one in it.network_interfaces.items()},
    "mac": it.mac, "partition": it.partition, "private_hostname": it.private_hostname, "private_ipv4": it.private_ipv4,
    "public_ipv4": it.public_ipv4, "region": it.region, "security_groups": it.security_groups,
    "spot_instance_action": it.spot_instance_action and it.spot_instance_action.action, "user_data": it.user_data.decode(),
}))
"""


@pytest.fixture(scope="module")
def asked() -> Iterator[Instance]:
    with instance("clients", USER_DATA, [], POOL) as one:
        yield one


def told(client: str) -> object:
    """What a client has learnt there."""
    return json.loads(in_its_network(sys.executable, "-c", f"import json{client}"))


def in_its_network(*command: str) -> str:
    """What a program of the host prints in the instance's network."""
    [one] = listed(POOL)
    number = (int(IPv4Address(one["address"])) - int(IPv4Address(HOST))) // 2
    inside = ["nsenter", f"--net=/run/netns/loitsut-{number}"]
    return subprocess.run([*inside, *command], stdout=subprocess.PIPE, text=True, check=True).stdout


def test_botocore_finds_the_region(asked: Instance) -> None:
    assert told(BOTOCORE) == "local"


def test_ec2_metadata_finds_all_that_an_instance_without_a_role_has(asked: Instance) -> None:
    [one] = listed(POOL)
    mac = json.loads(in_its_network("ip", "-json", "link", "show", "eth0"))[0]["address"]
    assert told(EC2_METADATA) == {
        "account_id": "000000000000", "ami_id": BASE.name, "ami_launch_index": 0, "availability_zone": "locala",
        "availability_zone_id": "locala", "domain": "amazonaws.com", "iam_info": None, "instance_action": "none",
        "instance_id": one["id"], "instance_type": "nspawn", "interfaces": {mac: [0, [one["address"]]]}, "mac": mac,
        "partition": "aws", "private_hostname": "clients", "private_ipv4": one["address"], "public_ipv4": None,
        "region": "local", "security_groups": ["default"], "spot_instance_action": None, "user_data": USER_DATA.decode(),
    }
