"""What the tests of the EC2 provider share: an account at moto, the proxy of faults before it, and a driver that asks."""

import base64
import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.faults import Proxy
from lab.moto import REGION, Keys, Moto
from lab.paths import DIST

SECONDS = 120
CAPACITY, UNREACHABLE, REFUSED, UNKNOWN = 75, 69, 78, 1


@dataclass
class Answer:
    """How the driver answered."""

    status: int
    words: str
    json: Any

    @property
    def instance(self) -> dict:
        assert self.status == 0, self.words
        return self.json["instance"]


@dataclass
class Driver:
    """A driver with one provider, `aws`, and one pool, `p`."""

    directory: Path
    moto: Moto
    proxy: Proxy
    pool: dict[str, Any] = field(default_factory=dict)
    provider: dict[str, Any] = field(default_factory=dict)
    keys: Keys | None = None
    name: str = "loitsut"

    def ask(self, verb: str, request: dict | None = None, **environment: str) -> Answer:
        """One verb, by a process of its own."""
        keys = (self.keys or self.moto.driver).environment()
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.directory), **keys, **environment}
        ended = subprocess.run(
            [DIST / "loitsut-driver", "provider", "aws", verb, "--config", self._config()],
            input=json.dumps(request or {}), capture_output=True, text=True, timeout=SECONDS, env=environment,
        )
        return Answer(ended.returncode, ended.stderr, json.loads(ended.stdout) if ended.returncode == 0 else None)

    def start(self, launch: str, user_data: bytes = b"{}", **environment: str) -> Answer:
        encoded = base64.b64encode(user_data).decode()
        request = {"launch": launch, "pool": "p", "name": f"name-{launch}", "user_data": encoded}
        return self.ask("start", request, **environment)

    def stop(self, launch: str, **more: str) -> Answer:
        return self.ask("stop", {"launch": launch, **more})

    def list(self) -> list[dict]:
        answer = self.ask("list")
        assert answer.status == 0, answer.words
        return answer.json["instances"]

    def _config(self) -> Path:
        provider = {"type": "ec2", "region": REGION, "endpoint_url": self.proxy.url, **self.provider}
        pool = {"provider": "aws", "image": image(self.moto), "instance_types": ["c5.large"], **self.pool}
        tables = {"driver": {"name": self.name}, "provider.aws": provider, "pool.p": pool}
        path = self.directory / "loitsut-driver.toml"
        path.write_text("".join(
            f"[{name}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in table.items())
            for name, table in tables.items()
        ))
        return path


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)


def image(moto: Moto) -> str:
    """An image of this account, the same each time."""
    ec2 = moto.client("ec2")
    found = ec2.describe_images(Owners=["self"], Filters=[{"Name": "name", "Values": ["base-1"]}])["Images"]
    if found:
        return found[0]["ImageId"]
    return ec2.register_image(Name="base-1", Architecture="x86_64", RootDeviceName="/dev/xvda")["ImageId"]
