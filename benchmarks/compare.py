"""Ways to do the same thing, compared in turns.

A case holds several ways. Speed of a machine drifts, by a factor of two between minutes on a shared one, so the ways of a
case take turns: round 1 of every way, then round 2 of every way, ... Only times of the same round are divided.
"""
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


class Missing(Exception):
    """This way cannot run here; the text says what it lacks."""


class Ready(NamedTuple):
    """A way that is ready to be timed.

    call: does the work once; work: its operation count in GFLOP, of the matrix products alone, the same for every way of a
    gradient; check: is given what `call` returned and raises AssertionError unless it is right; steps: gradients of one network
    per call; pictures: what one call learns from, where it is pictures.
    """

    call: Callable[[], Any]
    work: float
    check: Callable[[Any], None]
    steps: int = 1
    pictures: int = 0


@dataclass(frozen=True)
class Way:
    """prepare: returns a Ready, or raises Missing. compiles: the first call compiles, and its time is reported apart.

    role: 'ours compiled', 'ours' and 'base' are what others are divided by, the first of them that is there; 'floor' the
    matrix products alone; 'peak' a large product.
    """

    name: str
    prepare: Callable[[], Ready]
    role: str = ""
    compiles: bool = False


@dataclass(frozen=True)
class Case:
    """rounds: how often every way has its turn; calls: how often it is called in one turn, of which the fastest counts (once
    if a call takes longer than 0.2 s). clock: processor time, in which other programs on the machine count little; a way has
    one core, so this is the wall time of a quiet machine. Where ways use several cores: time.perf_counter.
    """

    name: str
    ways: Sequence[Way]
    rounds: int = 5
    calls: int = 3
    clock: Callable[[], float] = time.process_time


class Turn(NamedTuple):
    case: Case
    round: int
    way: Way

    def __str__(self):
        return f"{self.case.name} | round {self.round} | {self.way.name}"


def turns(cases: Sequence[Case]) -> Iterator[Turn]:
    """Every way of a case once, then again, there and back, so that no way always follows the same other one."""
    for case in cases:
        for round in range(1, case.rounds + 1):
            for way in case.ways[:: 1 if round % 2 else -1]:
                yield Turn(case, round, way)
