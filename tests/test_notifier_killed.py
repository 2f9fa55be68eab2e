"""A real kill -9 of the notifier in each operation, and while each channel has a message whose answer never comes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.killed_cast import OPERATIONS, Killed, killed_cast


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    with killed_cast(tmp_path_factory.mktemp("killed")) as killed:
        yield killed


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_kill_loses_nothing_and_doubles_nothing(killed: Killed, operation: str) -> None:
    before = killed.kills
    assert OPERATIONS[operation](killed) == []
    assert killed.kills > before
