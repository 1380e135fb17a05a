"""What a job has sent, and how far it is committed."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.kafka_host.delivery import HEAR_SECONDS, Delivery
from streams.broker import NEVER, Input
from streams.memory import Clock, Cluster, MemoryBroker

NOON = 1_704_110_400_000_000


class Faults:
    """Holds back what is sent as long as it is told to."""

    holds = False

    def __call__(self, _process: str, operation: str, count: int, /) -> int:
        return 0 if self.holds and operation in ("append", "commit") else count


class World:
    """A consumer of `in`, a producer, and a delivery between them."""

    def __init__(self, *, exactly_once: bool) -> None:
        self.faults, self.clock = Faults(), Clock(NOON)
        self.cluster = Cluster({"in": 1, "out": 1}, clock=self.clock, faults=self.faults)
        self.landed: list[int] = []
        broker = MemoryBroker(self.cluster, "job")
        self.consumer = broker.consumer([Input("in", 0)], "group", "owner")
        self.delivery = Delivery(
            self.consumer,
            broker.producer("id" if exactly_once else None),
            self.consumer.committed(),
            exactly_once=exactly_once,
            commit_seconds=0.1,
            clock=lambda: self.clock() / 1e6,
            landed=lambda stamps: self.landed.extend(stamps.tolist()),
        )

    def make(self, until: int) -> None:
        """Send what is made of the input up to this offset."""
        self.delivery.send("out", [b"%d" % until])
        self.delivery.reached([until], np.array([NOON + until]))

    def turn(self, seconds: float = 0.0) -> None:
        self.clock.sleep(seconds)
        self.delivery.turn()

    @property
    def committed(self) -> int:
        return self.cluster.groups["group"].positions.get(Input("in", 0), NEVER)


@pytest.fixture(params=[False, True], ids=["at-least-once", "exactly-once"])
def world(request: pytest.FixtureRequest) -> World:
    return World(exactly_once=request.param)


def test_positions_are_committed_once_the_broker_has_what_was_made_of_them(world: World) -> None:
    world.make(5)
    world.turn()
    assert world.committed == NEVER
    world.turn(0.1)
    world.turn(0.1)
    assert world.committed == 5


def test_what_the_broker_has_not_taken_is_neither_committed_nor_has_it_landed(
    world: World,
) -> None:
    world.faults.holds = True
    world.make(5)
    world.turn(0.1)
    world.turn(0.1)
    assert world.committed == NEVER and not world.landed
    world.faults.holds = False
    world.turn(0.1)
    world.turn(0.1)
    assert world.committed == 5 and world.landed == [NOON + 5]


def test_what_lies_before_the_committed_position_is_not_new_and_does_not_move_it_back(
    world: World,
) -> None:
    world.make(5)
    assert world.delivery.settle(1.0)
    assert not world.delivery.is_new([4]) and world.delivery.is_new([6])
    world.delivery.reached([4])
    assert world.delivery.settle(1.0)
    assert world.committed == 5 and world.landed == [NOON + 5]


def test_nothing_is_waited_for_longer_than_there_is_nothing_to_do() -> None:
    least, exactly = World(exactly_once=False), World(exactly_once=True)
    for world in (least, exactly):
        assert world.delivery.patience(1.0) == 1.0
        world.faults.holds = True
        world.make(5)
    assert least.delivery.patience(1.0) == HEAR_SECONDS
    assert exactly.delivery.patience(1.0) == pytest.approx(0.1)
    exactly.clock.sleep(0.3)
    assert exactly.delivery.patience(1.0) == 0.0


def test_a_transaction_that_is_not_decided_lets_nothing_be_made() -> None:
    world = World(exactly_once=True)
    world.make(5)
    world.faults.holds = True
    world.turn(0.1)
    assert world.delivery.full and not world.landed
