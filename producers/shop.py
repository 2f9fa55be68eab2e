"""What the simulated shop sells, who runs it, and who comes in: data only, the same for every seed."""

from dataclasses import dataclass

from lakehouse.topics import choices_of

ORDERS_TOPIC, CLICKS_TOPIC, ERRORS_TOPIC = "orders_topic", "clicks_topic", "errors_topic"
REFUNDS_TOPIC = "refunds_topic"
STATUSES = choices_of(ORDERS_TOPIC, "status")
DEVICE_TYPES = choices_of(CLICKS_TOPIC, "device_type")
SEVERITIES = choices_of(ERRORS_TOPIC, "severity")


@dataclass(frozen=True)
class Persona:
    """A kind of visitor: how often they come, how long they look around, and whether they buy.

    `visits` is their share of all visits, `visits_a_day` how often one of them comes. `views` are the chances of
    1, 2, 3 ... pages before any cart; `lands_on` those of home, category, search and product as the first page;
    `devices` those of desktop, mobile and tablet (one person keeps to one).
    """

    name: str
    visits: float
    visits_a_day: float
    views: tuple[float, ...]
    fills_cart: float
    buys: float
    lands_on: tuple[float, float, float, float]
    devices: tuple[float, float, float]


PERSONAS = (
    Persona(
        "window shopper", 0.40, 0.8, (0.15, 0.17, 0.17, 0.14, 0.11, 0.09, 0.08, 0.09), 0.04, 0.15,
        (0.45, 0.35, 0.05, 0.15), (0.30, 0.58, 0.12),
    ),
    Persona(
        "searcher", 0.25, 0.6, (0.18, 0.25, 0.24, 0.17, 0.10, 0.06), 0.16, 0.38,
        (0.10, 0.10, 0.65, 0.15), (0.55, 0.40, 0.05),
    ),
    Persona(
        "bargain hunter", 0.20, 1.5,
        (0.02, 0.04, 0.07, 0.10, 0.13, 0.14, 0.14, 0.12, 0.10, 0.08, 0.04, 0.02), 0.15, 0.20,
        (0.10, 0.70, 0.10, 0.10), (0.35, 0.55, 0.10),
    ),
    Persona(
        "regular", 0.10, 2.5, (0.06, 0.12, 0.18, 0.20, 0.17, 0.12, 0.09, 0.06), 0.25, 0.45,
        (0.60, 0.15, 0.10, 0.15), (0.50, 0.40, 0.10),
    ),
    Persona(
        "passer-by from an advertisement", 0.05, 0.3, (0.85, 0.15), 0.0, 0.0,
        (0.10, 0.00, 0.00, 0.90), (0.10, 0.82, 0.08),
    ),
)  # fmt: skip

BASKET = (0.25, 0.22, 0.18, 0.13, 0.09, 0.06, 0.04, 0.03)
"""Chances of 1, 2, 3 ... products in a basket that is bought; each is an order of its own."""

QUANTITY = (0.83, 0.11, 0.04, 0.02)
"""Chances of 1, 2, 3, 4 pieces."""

STATUS = (0.17, 0.58, 0.18, 0.03, 0.04)
"""Chances of CREATED (paid later), PROCESSING (paid), SHIPPED (express), DELIVERED (collected), CANCELLED."""

REFUNDED = 0.04
"""Share of the orders, among those not cancelled, that are paid back: whole, or a piece of several."""

GIVES_UP_AT_CHECKOUT = 0.25
"""Share of filled carts, among those not bought, that get as far as the checkout."""

ERROR_SHARE = 0.07
"""Log lines of the services among all events."""

SEVERITY = (0.30, 0.38, 0.20, 0.12, 0.0)
"""Chances of DEBUG, INFO, WARN, ERROR, FATAL on a good day."""

OUTAGE_SEVERITY = (0.0, 0.05, 0.17, 0.66, 0.12)

HOURS = (
    0.35, 0.25, 0.20, 0.18, 0.20, 0.30, 0.50, 0.75, 0.95, 1.05, 1.10, 1.15,
    1.25, 1.20, 1.10, 1.10, 1.15, 1.25, 1.45, 1.65, 1.75, 1.60, 1.20, 0.70,
)  # fmt: skip
"""The day curve: how busy the middle of each hour (UTC) is, beside the others. Lowest at 03:30, highest at 20:30."""

CATEGORIES = ("books", "music", "films", "games", "kitchen", "garden", "toys", "stationery")

# Usual price by category, in the order above.
_USUAL_PRICE = (14, 12, 15, 38, 32, 27, 21, 7)
_PRODUCTS_A_CATEGORY = 15
_ENDINGS = (0.99, 0.49, 0.95, 0.99, 0.00)


def _products() -> tuple[tuple[str, int, float], ...]:
    products = []
    for number in range(len(CATEGORIES) * _PRODUCTS_A_CATEGORY):
        category = number % len(CATEGORIES)
        place = number // len(CATEGORIES)
        factor = 0.4 + 2.2 * ((place * 7) % _PRODUCTS_A_CATEGORY / _PRODUCTS_A_CATEGORY) ** 2
        whole = max(2, round(_USUAL_PRICE[category] * factor))
        products.append((f"p-{number + 1:04d}", category, whole + _ENDINGS[number % len(_ENDINGS)]))
    return tuple(products)


PRODUCTS = _products()
"""(product_id, index into CATEGORIES, price): a product has one price. The first are sold most."""

SEARCHES = ("lamp", "birthday", "jazz", "cast+iron", "puzzle", "notebook", "seeds", "thriller", "chess", "teapot")

SERVICES = ("payments", "checkout", "catalog", "search", "shipping", "accounts", "inventory", "mailer")

SERVICE_SHARE = (0.16, 0.14, 0.18, 0.16, 0.10, 0.12, 0.10, 0.04)
"""Each service's part of the log lines on a good day; also how likely an outage hits it."""

STOPS_ORDERS = ("payments", "checkout")
"""Without these nobody can buy."""

# By service, one text or more a severity; {n} is a number that varies.
MESSAGES: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "payments": (
        ("Card token {n} read from cache", "Retry budget at {n} of 10000"),
        ("Settlement batch {n} closed", "Card processor answered in {n} ms"),
        ("Card processor slow: {n} ms", "Fraud score missing for attempt {n}"),
        ("Card processor timed out after {n} ms", "Charge {n} declined by the bank", "Signature of callback {n} wrong"),
        ("Card processor unreachable, {n} charges waiting", "No database connection left after {n} ms"),
    ),
    "checkout": (
        ("Cart {n} priced anew",),
        ("Cart {n} handed to payments", "Coupon table reloaded, {n} rows"),
        ("Cart {n} held for over 30 s", "Tax service slow: {n} ms"),
        ("Cart {n} lost its session", "Tax for cart {n} not known"),
        ("Cart store is read-only, write {n} refused", "Every worker busy, {n} carts refused"),
    ),
    "catalog": (
        ("Product page {n} rendered", "Cache entry {n} renewed"),
        ("Prices of {n} products loaded",),
        ("Picture of product {n} missing", "Cache hit rate down to {n} of 10000"),
        ("Product {n} has no price", "Replica {n} s behind"),
        ("Product database does not answer, request {n}",),
    ),
    "search": (
        ("Query plan {n} reused",),
        ("Index segment {n} merged", "Synonyms reloaded, {n} words"),
        ("Query took {n} ms", "Shard answered late: {n} ms"),
        ("Shard gave no answer within {n} ms", "Query {n} could not be parsed"),
        ("Index is corrupt at segment {n}",),
    ),
    "shipping": (
        ("Label {n} drawn",),
        ("Parcel {n} handed over", "Route table {n} loaded"),
        ("Carrier late by {n} min", "Address {n} guessed"),
        ("Carrier refused parcel {n}", "Address {n} not found"),
        ("No carrier answers, {n} parcels waiting",),
    ),
    "accounts": (
        ("Session {n} renewed",),
        ("Password mail {n} sent", "{n} sessions expired"),
        ("Login {n} slow", "Third wrong password, login {n}"),
        ("Session {n} not readable", "Login {n} failed: directory timed out"),
        ("Session store lost, {n} people logged out",),
    ),
    "inventory": (
        ("Shelf {n} counted",),
        ("Delivery {n} booked in",),
        ("Stock of product {n} below 5", "Count of shelf {n} differs"),
        ("Product {n} sold below zero", "Reservation {n} not found"),
        ("Stock ledger locked since {n} s",),
    ),
    "mailer": (
        ("Template {n} rendered",),
        ("Mail {n} accepted",),
        ("Mail {n} deferred",),
        ("Mail {n} bounced", "Mail server refused connection {n}"),
        ("Mail queue full at {n}",),
    ),
}
