"""A sample of `make soak`: an agent killed at points of its work, and disks that fill, end as if nothing had been."""

from pathlib import Path

import pytest

from soak import points
from soak.layers import layers

SEED = 20261123


@pytest.fixture(scope="module")
def below(tmp_path_factory: pytest.TempPathFactory, apt_port: int, baked: Path) -> list[Path]:
    return [*layers(tmp_path_factory.mktemp("soak"), apt_port), baked]


def test_a_killed_agent_ends_as_an_undisturbed_one(below: list[Path]) -> None:
    results = points.kill(below, SEED, 10)
    assert not results.failures, "\n".join(results.failures)
    assert results.disturbed >= 9, results.lines


def test_a_disk_that_was_full_ends_as_an_undisturbed_one(below: list[Path]) -> None:
    results = points.fill(below, SEED, 3)
    assert not results.failures, "\n".join(results.failures)
    assert results.disturbed >= 2, results.lines
