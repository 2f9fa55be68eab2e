"""Amounts in the fast way: the lines that read them, round them, and convert them by a rate."""

from __future__ import annotations

from collections.abc import Iterator

from lakehouse.decode.customs import AS_DECLARED, Customs
from lakehouse.decode.values import SCALES
from lakehouse.topics import Topic, TopicField


def local_name(field: TopicField) -> str:
    """A field's name among the others of the source."""
    return f"v_{field.name}"


def kept_name(field: TopicField) -> str:
    """That of an amount in the shop's currency."""
    return f"k_{field.name}"


def converts_amounts(topic: Topic, customs: Customs) -> bool:
    return customs.rates is not None and topic.currency is not None


def amount_arguments(topic: Topic, amounts: list[TopicField]) -> list[TopicField]:
    """The counts that amounts are products of, then the amounts."""
    factors = {name for field in amounts for name in field.product or ()}
    return [*(field for field in topic.fields if field.name in factors and field not in amounts), *amounts]


def amount_lines(topic: Topic, customs: Customs = AS_DECLARED) -> Iterator[str]:
    """All amounts of the plainest kind of numbers, remembered: the same products are sold over and over.

    With rates, each twice: as given, and in the shop's currency.
    """
    amounts = [field for field in topic.fields if field.kind in SCALES]
    if not amounts:
        return
    yield "@lru_cache(maxsize=8192)"
    converts = converts_amounts(topic, customs)
    arguments = [*map(local_name, amount_arguments(topic, amounts)), *(["rate"] if converts else [])]
    yield f"def amounts_of({', '.join(arguments)}):"
    for field in amounts:
        given = "" if field.required else f"{local_name(field)} is not None and "
        yield f"    if {given}not plain({local_name(field)}):"
        yield "        return None"
    for field in sorted(amounts, key=lambda each: each.product is not None):
        name, scale = local_name(field), SCALES[field.kind]
        yield f"    if {name} is not None:"
        yield f"        {name} = Decimal({name}.decode())"
        if field.product:
            yield "    else:"
            yield f"        {name} = EXACT.multiply({', '.join(f'v_{factor}' for factor in field.product)})"
            yield f"        if {name}.adjusted() >= {scale.digits - 1}:"
            yield "            return None"
    if converts:
        for field in amounts:
            name, kept = local_name(field), kept_name(field)
            yield f"    {kept} = {name}"
            yield f"    if {name} is not None and rate is not None:"
            yield f"        {kept} = EXACT.multiply({name}, rate)"
            yield f"        if {kept}.adjusted() >= {SCALES[field.kind].digits - 1}:"
            yield "            return None"
    names = [(field, local_name(field)) for field in amounts]
    names += [(field, kept_name(field)) for field in amounts if converts]
    for field, name in names:
        yield f"    if {name} is not None:"
        yield f"        {name} = {name}.quantize(unit_{field.name}, context=EXACT)"
        if field.above is not None:
            yield f"        if {name} <= {field.above}:"
            yield "            return None"
    yield f"    return ({', '.join(name for _, name in names)},)"
