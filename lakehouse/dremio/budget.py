"""How long the calls of one question may take."""

from __future__ import annotations

from collections.abc import Callable

from pyarrow import flight


class Budget:
    """Seconds for calls of one kind, planning or reading: `with` charges them, so what a first try used is not there
    for a second."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._left_s = seconds
        self._clock = clock
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = self._clock()

    def __exit__(self, *_: object) -> None:
        self._left_s -= self._clock() - self._began

    @property
    def left_s(self) -> float:
        """Of a call that begins now, inside `with`. Raises FlightTimedOutError where nothing is left."""
        left_s = self._left_s - (self._clock() - self._began)
        if left_s <= 0:
            # Not to pyarrow: it takes a negative timeout for none at all.
            raise flight.FlightTimedOutError("Deadline Exceeded")
        return left_s
