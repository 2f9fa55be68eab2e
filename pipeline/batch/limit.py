"""How long a KPI's query may take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from lakehouse.user_error import UserError

_AGAIN_S = 0.1


class TookTooLong(UserError):
    """A query that was given up."""


@contextmanager
def time_limit(seconds: float, stop: Callable[[], object]) -> Iterator[None]:
    """Stop what is within once it has taken so long; raises TookTooLong where it fails for that.

    `stop` is called again and again, by another thread: what is planned just then, or lies between two jobs, does not
    hear the first call. It is never called once what is within is over: the next query would be stopped.
    """
    done, late = Event(), Event()

    def watch() -> None:
        if not done.wait(seconds):
            late.set()
            stop()
            while not done.wait(_AGAIN_S):
                stop()

    watcher = Thread(target=watch, name="kpi-limit", daemon=True)
    watcher.start()
    try:
        yield
    except Exception:
        if late.is_set():
            raise TookTooLong(f"it took over {seconds:g} s") from None
        raise
    finally:
        done.set()
        watcher.join()
