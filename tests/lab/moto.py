"""EC2 by moto, as a server of its own that checks signatures and permissions: an account with two users, an
administrator and a driver with the policy that docs/ has for it."""

import contextlib
import json
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from .paths import REPO, VENV

REGION = "eu-north-1"
POLICY = REPO / "docs/iam-policy.json"
START_SECONDS = 60


@dataclass
class Keys:
    """Credentials of a user."""

    access: str
    secret: str

    def environment(self) -> dict[str, str]:
        """As AWS's tools take them."""
        return {"AWS_ACCESS_KEY_ID": self.access, "AWS_SECRET_ACCESS_KEY": self.secret}


class Moto:
    """A running server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.admin = Keys("none", "none")
        self.admin = self.user("admin", {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "*", "Resource": "*"},
        ]})
        self.driver = self.user("driver", policy())
        # From here on nothing is done without a good signature and a policy.
        plain = {"Content-Type": "text/plain"}
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/moto-api/reset-auth", b"0", plain))

    def client(self, service: str) -> Any:
        """An administrator's way to a service."""
        return boto3.client(
            service, region_name=REGION, endpoint_url=self.url,
            aws_access_key_id=self.admin.access, aws_secret_access_key=self.admin.secret,
        )

    def user(self, name: str, policy: dict) -> Keys:
        """A user who may do what the policy says."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return Keys(key["AccessKeyId"], key["SecretAccessKey"])

    def instances(self) -> list[dict]:
        """All that were ever started."""
        reservations = self.client("ec2").describe_instances()["Reservations"]
        return [instance for reservation in reservations for instance in reservation["Instances"]]


def policy(without: str = "") -> dict:
    """The policy in docs/, perhaps less one action, as moto reads policies: it asks for all resources, and knows no
    conditions."""
    policy = json.loads(POLICY.read_text())
    for statement in policy["Statement"]:
        actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        statement["Action"] = [action for action in actions if action != without]
        statement["Resource"] = "*"
        statement.pop("Condition", None)
    policy["Statement"] = [statement for statement in policy["Statement"] if statement["Action"]]
    return policy


@contextlib.contextmanager
def moto(directory: Path) -> Iterator[Moto]:
    """A server for as long as the block lasts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with open(directory / "moto.log", "w+") as log:
        command = [f"{VENV}/bin/python", "-m", "moto.server", "--port", str(port)]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.PIPE, text=True)
        try:
            _wait(server, log)
            yield Moto(port)
        finally:
            server.kill()
            server.wait()


def _wait(server: subprocess.Popen, log) -> None:
    """Until it says that it listens. What it says afterwards goes to the log."""
    ready = threading.Event()

    def follow() -> None:
        for line in server.stderr:
            log.write(line)
            if "Running on" in line:
                ready.set()

    threading.Thread(target=follow, daemon=True).start()
    if not ready.wait(START_SECONDS):
        raise RuntimeError(f"moto does not listen after {START_SECONDS} s")
