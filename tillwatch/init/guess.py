"""Which column is which, and how it is written: what was said wins, the rest is guessed by names and values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from lakehouse.decode.document import JsonInteger
from lakehouse.rates import CODE
from lakehouse.sources.convert import number_reader
from lakehouse.sources.envelope import Envelope
from lakehouse.texts import near, visible
from lakehouse.topics import TOPICS, FieldKind, TopicField
from lakehouse.topics.topic import AMOUNTS, NUMBERS
from lakehouse.user_error import UserError
from tillwatch.init import names
from tillwatch.init.choices import EACH_LINE, NOTHING, ORDERS, Choices, Given, MessageShape, flag
from tillwatch.init.columns import WRAPPED, SampleColumn
from tillwatch.init.naming import guess_topic
from tillwatch.init.numbers import Signs, are_numbers, currency_of, signs_of, ways_of
from tillwatch.init.sample import Sample
from tillwatch.init.shapes import drops_total, shape_of
from tillwatch.init.times import EXCEL, TimeForm, time_form

_TIMES_OF = {Envelope.DEBEZIUM: "source.ts_ms", Envelope.CLOUDEVENTS: "time"}
_CENTS = r"\b(cents?|minor|pence|pennies|rappen|öre|ore)\b"


def guessed(sample: Sample, given: Given) -> Choices:
    """Raises UserError where what was said does not go with the sample. A field that nothing says is left out."""
    return _Guess(sample, given, given.topic or guess_topic(sample)).choices()


class _Guess:
    def __init__(self, sample: Sample, given: Given, topic: str) -> None:
        self._sample = sample
        self._given = given
        self._topic = topic
        self._columns = sample.columns.by_path
        self._taken: set[str] = set()
        self._notes: list[str] = []
        self._currencies: Sequence[str] = ()
        self._signs = self._signs_of()
        self._check_given()

    def choices(self) -> Choices:
        sample, given, topic = self._sample, self._given, TOPICS[self._topic]
        paths: dict[str, tuple[str, ...]] = {}
        for name in names.NAMES[self._topic]:
            found = tuple(column.path for column in self._found(name))
            if found:
                paths[name] = found
                self._taken.add(found[0])
        clock, form = self._form(paths.get(topic.time, ()))
        line_total = self._line_total(paths)
        one_of_each = {name: found[0] for name, found in paths.items()}
        shape = MessageShape.ORDER
        if self._topic == ORDERS:
            shape = shape_of(sample, one_of_each, line_total, self._signs, given.grain)
            if shape is MessageShape.EACH or drops_total(sample, shape, one_of_each, self._signs):
                paths.pop("order_total", None)
        currency = self._currency(paths)
        return Choices(
            topic=self._topic,
            paths=paths,
            constants=given.constants,
            form=form,
            clock=clock,
            zone=given.zone or "",
            signs=self._signs,
            minor={path: self._minor(path) for path in self._amounts(paths, line_total)},
            currency=currency,
            shape=shape,
            list_path=sample.columns.path if shape in (MessageShape.EACH, MessageShape.WHOLE) else "",
            line_total=line_total,
            events=self._named(names.EVENT_ID, of_elements=False),
            lines=self._named(names.LINE, of_elements=shape is MessageShape.EACH),
            notes=tuple(self._notes),
        )

    # What was said ----------------------------------------------------------------------------------------------------

    def _check_given(self) -> None:
        given, topic = self._given, TOPICS[self._topic]
        fields = [each.name for each in topic.fields if each.name in names.NAMES[self._topic]]
        for name, path in given.paths.items():
            if name not in fields:
                raise UserError(
                    f"--map names the field '{name}'{near(name, fields)}; {topic.name} has {', '.join(fields)}."
                )
            special = path == NOTHING or (path == EACH_LINE and name == topic.id_field and self._sample.tabular)
            if path not in self._columns and not special:
                told = flag(self._topic, name)
                raise UserError(
                    f"{told.removesuffix('=')} names '{path}', which {self._sample.file} does not have"
                    f"{near(path, self._columns)}; it has {self._listed()}."
                )
        for name in given.constants:
            if name not in fields:
                raise UserError(
                    f"--const names the field '{name}'{near(name, fields)}; {topic.name} has {', '.join(fields)}."
                )
            if name == "quantity" and not given.constants[name].isdecimal():
                raise UserError(f"--const quantity is '{visible(given.constants[name], 60)}'; expected a whole number.")
            if name in given.paths:
                raise UserError(f"A column and a constant are given for '{name}'; leave one out.")
        if given.grain and self._topic != ORDERS:
            raise UserError(
                f"--grain goes with orders, and these are {self._topic.removesuffix('_topic')}; leave it out."
            )

    def _listed(self) -> str:
        found = list(self._columns)
        more = f" and {len(found) - 20} more" if len(found) > 20 else ""
        return visible(", ".join(found[:20]), 1_000) + more

    # Columns ----------------------------------------------------------------------------------------------------------

    def _found(self, name: str) -> Iterator[SampleColumn]:
        """The columns that may be a field, the likeliest first; one alone where it was said."""
        if name in self._given.constants:
            return
        path = self._given.paths.get(name)
        if path == EACH_LINE:
            yield SampleColumn(EACH_LINE, EACH_LINE)
        elif path in self._columns:
            yield self._columns[path]
        elif path is None:
            if self._topic == ORDERS and name in names.OF_LINES:
                yield from self._of_elements(name)
            yield from self._of_messages(name)

    def _of_elements(self, name: str) -> Iterator[SampleColumn]:
        columns = self._sample.columns.of_elements.values()
        yield from self._by_name(name, columns, (*names.NAMES[ORDERS][name], *names.OF_ELEMENTS.get(name, ())))

    def _of_messages(self, name: str) -> Iterator[SampleColumn]:
        topic = TOPICS[self._topic]
        found = list(self._by_name(name, self._within, names.NAMES[self._topic][name]))
        if name == topic.time and not found:
            later = self._columns.get(_TIMES_OF.get(self._sample.envelope, ""))
            times = [column for column in self._within if self._is_time(column)]
            found = [later] if later is not None else times if len(times) == 1 else []
        yield from found

    @property
    def _within(self) -> list[SampleColumn]:
        """The columns that say something of the shop, and not of how the message is wrapped."""
        prefix = WRAPPED.get(self._sample.envelope, "")
        return [column for path, column in self._sample.columns.of_messages.items() if path.startswith(prefix)]

    def _by_name(self, name: str, columns: Iterable[SampleColumn], patterns: Sequence[str]) -> Iterator[SampleColumn]:
        fits, never = self._fits(name), names.NEVER.get(name, "")
        ranked = []
        for place, column in enumerate(columns):
            likely = names.rank(column.words, patterns, never) if column.path not in self._taken else None
            if likely is not None and column.given:
                ranked.append((likely, place, column))
        for _, _, column in sorted(ranked, key=lambda each: each[:2]):
            if fits(column):
                yield column

    def _fits(self, name: str) -> Callable[[SampleColumn], bool]:
        """Whether a column's values may be a field's."""
        field = TOPICS[self._topic].field(name)
        if name == TOPICS[self._topic].id_field:
            return lambda column: column.full
        if field.kind in NUMBERS:
            return lambda column: are_numbers(column, self._signs)
        if field.kind is FieldKind.TIME:
            return self._is_time
        if field.kind is FieldKind.CURRENCY:
            return lambda column: all(CODE.fullmatch(value.strip().upper()) for value in column.distinct)
        return lambda column: not any(isinstance(value, bool) for value in column.values)

    # How values are written -------------------------------------------------------------------------------------------

    def _signs_of(self) -> Signs:
        given, fields = self._given.decimal, TOPICS[self._topic].fields
        ways = ways_of(commas_first=self._sample.delimiter != ",")
        if given is not None:
            ways = [Signs(given, "." if given == "," else ",")]
        numbers, amounts = (self._likely([each for each in fields if each.kind in of]) for of in (NUMBERS, AMOUNTS))
        return signs_of(numbers, amounts, ways)

    def _likely(self, fields: Sequence[TopicField]) -> list[SampleColumn]:
        """The columns that may be one of these fields, by their names."""
        return [
            column
            for column in self._sample.columns
            if column.given
            and any(
                names.rank(column.words, names.NAMES[self._topic].get(each.name, ())) is not None for each in fields
            )
        ]

    def _is_time(self, column: SampleColumn) -> bool:
        return self._form_of(column) is not None

    def _form_of(self, column: SampleColumn) -> TimeForm | None:
        days = "days" if self._sample.envelope in (Envelope.DEBEZIUM, Envelope.CONNECT) else EXCEL
        return time_form(column.values, number_reader(*self._signs[:2]), days)

    def _form(self, paths: Sequence[str]) -> tuple[str, TimeForm | None]:
        """The column of the time of day, where the time has none, and how both are written."""
        if not paths or paths[0] not in self._columns:
            return "", None
        column = self._columns[paths[0]]
        if self._given.form is not None:
            form = TimeForm(
                self._given.form, zoned=self._given.form in ("s", "ms", "us", "ns") or self._given.form.endswith("%z")
            )
        else:
            found = self._form_of(column)
            if found is None:
                first = visible(next(iter(column.given), ""), 60)
                raise UserError(
                    f"--time names '{column.path}', and '{first}' is no time that is known here; say how it is written "
                    "by --date-format, like %d.%m.%Y, excel or ms."
                )
            form = found
        if form.other:
            self._notes.append(
                f"{column.path}: day or month may come first; {form.how} was taken, --date-format '{form.other}' is "
                "the other."
            )
        if form.zoned and self._given.zone is not None:
            raise UserError(f"--zone is for times without one, and those of {column.path} have theirs; leave it out.")
        if self._given.form is not None or form.has_clock(column.given):
            return "", form
        return self._clock(column) or ("", form)

    def _clock(self, day: SampleColumn) -> tuple[str, TimeForm] | None:
        for column in self._within:
            if column.path not in self._taken and names.rank(column.words, names.CLOCK) is not None and column.full:
                pairs = zip(day.values, column.values, strict=True)
                both = SampleColumn(day.path, day.words, [f"{one} {other}" if one else None for one, other in pairs])
                form = self._form_of(both)
                if form is not None and form.has_clock(both.given):
                    return column.path, form
        return None

    def _line_total(self, paths: dict[str, tuple[str, ...]]) -> str:
        """What an element of the list costs as a whole; it is none of the paths."""
        if self._topic != ORDERS or "order_total" in self._given.constants:
            return ""
        said = self._given.paths.get("order_total")
        if said is not None:
            return paths.pop("order_total")[0] if said in self._sample.columns.of_elements else ""
        return next((column.path for column in self._of_elements("order_total")), "")

    def _amounts(self, paths: Mapping[str, Sequence[str]], line_total: str) -> list[str]:
        kinds = {each.name: each.kind for each in TOPICS[self._topic].fields}
        found = [path for name, (path, *_) in paths.items() if kinds[name] in AMOUNTS]
        return [*found, *([line_total] if line_total else [])]

    def _minor(self, path: str) -> int:
        if self._given.minor is not None:
            return self._given.minor
        column = self._columns[path]
        if names.rank(column.words, (_CENTS,)) is not None:
            return 2
        if path in self._sample.decimals or any(type(each) not in (JsonInteger, type(None)) for each in column.values):
            return 0
        # Who writes usd and no points, as payment services do, means cents.
        digits = 2 if any(each.islower() for each in self._currencies) else 0
        if digits or min(map(int, column.given)) >= 100:
            taken = "taken for cents, --minor 0" if digits else "taken as they are, --minor 2"
            self._notes.append(f"{path} has whole numbers only, {taken} says otherwise.")
        return digits

    def _currency(self, paths: Mapping[str, Sequence[str]]) -> str:
        if "currency" in paths:
            self._currencies = self._columns[paths["currency"][0]].given
        if self._given.currency is not None:
            return self._given.currency
        if (said := self._given.constants.get("currency")) is not None:
            return said.upper()
        counts = Counter(value.strip().upper() for value in self._currencies)
        return counts.most_common(1)[0][0] if counts else self._currency_of_sign()

    def _currency_of_sign(self) -> str:
        sign = self._signs.sign
        found = currency_of(sign)
        if sign == "$":
            self._notes.append("'$' stands beside amounts, and was taken for USD: --currency CODE says another.")
        elif sign and not found:
            self._notes.append(f"'{sign}' stands beside amounts: --currency CODE says which currency that is.")
        return found

    def _named(self, patterns: Sequence[str], of_elements: bool) -> str:
        columns = self._sample.columns.of_elements.values() if of_elements else self._within
        found = [
            (rank, place, column.path)
            for place, column in enumerate(columns)
            if (rank := names.rank(column.words, patterns)) is not None
            and column.full
            and column.path not in self._taken
        ]
        return min(found)[2] if found else ""
