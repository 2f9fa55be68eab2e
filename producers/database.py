"""A small shop that writes into its own database: orders are made, move on, are cancelled, amended and removed.

The tables are those of examples/cdc/schema.sql. Each change is a transaction of its own, as a shop's program makes it.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lakehouse.settings.database import DatabaseSettings
from lakehouse.stop import Stop
from lakehouse.user_error import UserError
from producers.pace import Clock, paced
from producers.shop import PRODUCTS

logger = logging.getLogger(__name__)

NEXT = {"new": "paid", "paid": "shipped", "shipped": "delivered"}
CANCELLABLE = ("new", "paid")
MADE, MOVED, CANCELLED, AMENDED, REMOVED = "made", "moved on", "cancelled", "amended", "removed"
_SHARES = {MADE: 0.40, MOVED: 0.40, CANCELLED: 0.09, AMENDED: 0.08, REMOVED: 0.03}
_CONNECT_S = 5
_PATIENCE_S = 0.5


class Shopkeeper:
    """What a shop does next, by a seed; over one connection. What is not finished yet is known by id and status."""

    def __init__(self, connection: Any, chance: random.Random) -> None:
        self._connection = connection
        self._chance = chance
        self._open: dict[int, str] = dict(
            connection.run("SELECT order_id, status FROM orders WHERE status NOT IN ('delivered', 'cancelled')")
        )
        connection.run("SET synchronous_commit = on")

    def act(self) -> str:
        """One change, committed; what it was. Raises what the driver raises."""
        doing = self._chance.choices(list(_SHARES), list(_SHARES.values()))[0]
        cancellable = [order for order, status in self._open.items() if status in CANCELLABLE]
        if doing == MADE or not (cancellable if doing == CANCELLED else self._open):
            self._make()
            return MADE
        order = self._chance.choice(cancellable if doing == CANCELLED else list(self._open))
        if doing == MOVED:
            self._set_status(order, NEXT[self._open[order]])
        elif doing == CANCELLED:
            self._set_status(order, "cancelled")
        elif doing == AMENDED:
            note = f"ring twice {self._chance.randrange(1000)}"
            self._connection.run("UPDATE orders SET note = :note WHERE order_id = :id", note=note, id=order)
        else:
            self._connection.run("DELETE FROM orders WHERE order_id = :id", id=order)
            del self._open[order]
        return doing

    def _make(self) -> None:
        chance = self._chance
        lines = [
            (product, chance.randint(1, 3), round(price * 100))
            for product, _, price in chance.sample(PRODUCTS, chance.randint(1, 4))
        ]
        cents = sum(quantity * price for _, quantity, price in lines)
        run = self._connection.run
        run("BEGIN")
        [[customer]] = run(
            "INSERT INTO customers (email) VALUES (:email) "
            "ON CONFLICT (email) DO UPDATE SET email = excluded.email RETURNING customer_id",
            email=f"customer{chance.randrange(2_000)}@shop.example",
        )
        [[order]] = run(
            "INSERT INTO orders (customer_id, total) VALUES (:customer, :cents / 100.0) RETURNING order_id",
            customer=customer,
            cents=cents,
        )
        for place, (product, quantity, price) in enumerate(lines, 1):
            run(
                "INSERT INTO order_items VALUES (:order, :line, :product, :quantity, :cents / 100.0)",
                order=order,
                line=place,
                product=product,
                quantity=quantity,
                cents=price,
            )
        run("COMMIT")
        self._open[order] = "new"

    def _set_status(self, order: int, status: str) -> None:
        self._connection.run("UPDATE orders SET status = :status WHERE order_id = :id", status=status, id=order)
        if status in NEXT:
            self._open[order] = status
        else:
            del self._open[order]


def keep_shop(
    settings: DatabaseSettings, seed: int, rate: float, orders: int | None, clock: Clock, stop: Stop
) -> Counter[str]:
    """Make `rate` changes a second until told to stop, or until so many orders were made; how often each was done.

    A database that is away is tried again until it is there. Whether a change that was under way was kept only it
    knows: what is open is asked anew. Raises UserError where it refuses.
    """
    done, chance = Counter[str](), random.Random(seed)
    numbers = (number for batch in paced(2**62, rate, clock, stop) for number in batch)
    told = False
    while not _enough(done, orders) and not stop.is_set():
        try:
            with connected(settings) as connection:
                if told:
                    logger.warning("The database is there again.")
                told = False
                _work(Shopkeeper(connection, chance), numbers, done, lambda: _enough(done, orders))
                break
        except _lost() as error:
            if not told:
                logger.warning("The database is away (%s). Trying again.", " ".join(str(error).split())[:200])
                told = True
            clock.sleep(_PATIENCE_S)
    return done


def _work(shop: Shopkeeper, numbers: Iterator[int], done: Counter[str], enough: Callable[[], bool]) -> None:
    for _ in numbers:
        done[shop.act()] += 1
        if enough():
            return


def _enough(done: Counter[str], orders: int | None) -> bool:
    return orders is not None and done[MADE] >= orders


@contextmanager
def connected(settings: DatabaseSettings) -> Iterator[Any]:
    """A connection; closed at the end. Raises UserError where the database refuses it, else what the driver raises."""
    try:
        from pg8000 import native
    except ImportError:
        raise UserError("The packages of the stack are not installed: run `make stack` once.") from None
    connection = None
    try:
        connection = native.Connection(
            settings.user,
            host=settings.host,
            port=settings.port_there,
            database=settings.name,
            password=settings.password.get_secret_value(),
            timeout=_CONNECT_S,
        )
        yield connection
    except native.DatabaseError as error:
        if is_passing(error):
            raise
        said = error.args[0].get("M", error) if error.args and isinstance(error.args[0], dict) else error
        where = f"{settings.host}:{settings.port_there}/{settings.name}"
        raise UserError(f"The database at {where} refuses {settings.user}: {said}. See section database.") from None
    finally:
        if connection is not None:
            _close(connection)


def is_passing(error: Exception) -> bool:
    """Whether a database that says this will say something else in a moment: it starts, ends or recovers."""
    said = error.args[0] if error.args else None
    code = said.get("C", "") if isinstance(said, dict) else ""
    return code.startswith(("57P", "53"))


def _close(connection: Any) -> None:
    from pg8000 import native

    try:
        connection.close()
    except (native.InterfaceError, OSError):
        return  # it was lost


def _lost() -> tuple[type[Exception], ...]:
    from pg8000 import native

    return (native.InterfaceError, native.DatabaseError, OSError)
