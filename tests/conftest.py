"""What several tests share."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.bake import bake
from lab.proxy import apt_proxy


@pytest.fixture(scope="session")
def baked() -> Iterator[Path]:
    """The agent, its units and the shipped profiles, as a layer over the base tree."""
    with tempfile.TemporaryDirectory() as directory:
        yield bake(Path(directory))


@pytest.fixture(scope="session")
def apt_port() -> Iterator[int]:
    """The port of the package proxy on this host."""
    with apt_proxy() as port:
        yield port
