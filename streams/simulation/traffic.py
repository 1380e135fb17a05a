"""What a simulated world is like: its size, its fraud, its transport's faults, its dated drifts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Literal, get_args

from streams.errors import ConfigError
from streams.schema import LATEST, duration_us

Shape = Literal["sudden", "gradual", "incremental", "recurring"]
Law = Literal["inputs", "prior", "concept"]
SHAPES: tuple[Shape, ...] = get_args(Shape)
_SHARES = ("disorder", "late", "duplicates", "conflicts", "garbage", "labels_missing")


def moment_us(text: str) -> int:
    """An ISO 8601 date or time as microseconds since 1970; without an offset it is UTC.

    >>> moment_us("1970-01-02")
    86400000000
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        wanted = "wanted an ISO 8601 date or time such as 2024-01-31"
        raise ConfigError(f"{wanted}; got {text!r}") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Drift:
    """A change of the world from `at` until `until`, or for good; `size` says how much changes.

    What shape it has is the same for all kinds. `sudden` is whole at once. `gradual` holds in some
    hours, in ever more of them until after `span` in all. `incremental` grows evenly, by the hour,
    to its size after `span`. `recurring` holds for a span, is away for one, and so on.
    """

    kind: ClassVar[str] = ""
    """What the command line calls it."""
    changes: ClassVar[tuple[Law, ...]] = ()
    """Which laws change, of an event's own inputs and its label; not what their history tells."""
    fields: ClassVar[tuple[str, ...]] = ()
    """Inputs that are otherwise distributed."""

    at: str
    size: float
    until: str | None = None
    shape: Shape = "sudden"
    span: str = "14d"

    @property
    def window(self) -> tuple[int, int]:
        """From when to when it works, in microseconds."""
        return moment_us(self.at), LATEST if self.until is None else moment_us(self.until)


@dataclass(frozen=True, slots=True)
class PopulationShift(Drift):
    """A share `size` of customers live in another town, with other shops and other amounts."""

    kind, changes, fields = "population", ("inputs", "concept"), ("terminal", "amount")
    size: float = 0.3


@dataclass(frozen=True, slots=True)
class NewTactic(Drift):
    """A share `size` of new fraud is of the tactic `vouchers`, which was not there before."""

    kind, changes = "tactic", ("concept",)
    size: float = 0.4


@dataclass(frozen=True, slots=True)
class PriorShift(Drift):
    """Cases of fraud begin `size` times as often; what has begun goes on."""

    kind, changes = "prior", ("prior",)
    size: float = 3.0


@dataclass(frozen=True, slots=True)
class PriceInflation(Drift):
    """All amounts grow evenly from `at` to `until`, to `size` times what they were, and stay."""

    kind, changes, fields = "prices", ("inputs",), ("amount",)
    size: float = 1.3


@dataclass(frozen=True, slots=True)
class TerminalOutage(Drift):
    """A share `size` of terminals say nothing: what happens there is never sent, nor noticed."""

    kind, changes, fields = "outage", ("inputs",), ("terminal",)
    size: float = 0.1


@dataclass(frozen=True, slots=True)
class InputShift(Drift):
    """Of payments below 26.00 a share `size`, whoever makes them, is paid in cash: never sent."""

    kind, changes, fields = "inputs", ("inputs",), ("amount",)
    size: float = 0.5


@dataclass(frozen=True, slots=True)
class ConceptShift(Drift):
    """A share `size` of what was fraud is none, and as many payments of 80.00 to 99.99 are."""

    kind, changes = "concept", ("concept",)
    size: float = 0.5


@dataclass(frozen=True, slots=True)
class UnitError(Drift):
    """A share `size` of terminals send cents as if they were units, up to the largest amount."""

    kind, changes, fields = "unit", ("inputs",), ("amount",)
    size: float = 1.0


@dataclass(frozen=True, slots=True)
class MissingField(Drift):
    """A share `size` of terminals send no amount."""

    kind, changes, fields = "missing", ("inputs",), ("amount",)
    size: float = 1.0


@dataclass(frozen=True, slots=True)
class SlowAttack(Drift):
    """More fraud, `size` times as much again: a payment a card, all of them online and by day."""

    kind, changes = "attacker", ("prior", "concept")
    size: float = 0.3
    shape: Shape = "incremental"
    span: str = "60d"


@dataclass(frozen=True, slots=True)
class Holidays(Drift):
    """`size` times as many visits again, two hours later, and fraud; amounts grow by half of it."""

    kind, changes, fields = "holidays", ("inputs",), ("time", "amount")
    size: float = 0.4


DRIFTS: dict[str, type[Drift]] = {
    drift.kind: drift
    for drift in (
        PopulationShift, NewTactic, PriorShift, PriceInflation, TerminalOutage, InputShift,
        ConceptShift, UnitError, MissingField, SlowAttack, Holidays,
    )
}  # fmt: skip
"""The kinds of drift by what the command line calls them."""
MOST_DRIFTS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """A world of card payments. Give `days` or `events`; with neither it never ends.

    `per_day` counts transactions, `fraud_rate` is the share of them that are fraud in the long run.
    A chargeback comes after a lognormal delay of median `label_delay` whose logarithm deviates by
    `label_spread`, at most 60 days; a share `labels_missing` of them never comes.

    Transport: a share `disorder` of transactions arrives up to `max_delay` after its time, a share
    `late` between `max_delay` and `late_delay` after. A share `duplicates` is sent again unchanged
    and a share `conflicts` again with another amount, within ten minutes. In NDJSON a share
    `garbage` of lines is malformed. None of these changes what happens in the world.

    >>> Traffic(days=2).end == Traffic().begin + 2 * 86_400_000_000
    True
    """

    customers: int = 5_000
    terminals: int = 10_000
    per_day: float = 10_000
    start: str = "2024-01-01"
    days: float | None = None
    events: int | None = None
    seed: int = 0
    fraud_rate: float = 0.007
    label_delay: str = "3d"
    label_spread: float = 0.6
    labels_missing: float = 0.0
    drifts: tuple[Drift, ...] = ()
    disorder: float = 0.0
    max_delay: str = "10m"
    late: float = 0.0
    late_delay: str = "3d"
    duplicates: float = 0.0
    conflicts: float = 0.0
    garbage: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated."""
        if self.customers < 1 or self.terminals < 20 or not self.per_day > 0:
            got = f"{self.customers}, {self.terminals} and {self.per_day}"
            message = "Traffic needs customers >= 1, terminals >= 20 and per_day > 0"
            raise ConfigError(f"{message}; got {got}")
        moment_us(self.start)
        if not 0 <= self.seed < 2**63:
            raise ConfigError(
                f"Traffic.seed is a whole number from 0 to 2**63 - 1; got {self.seed}"
            )
        if self.days is not None and self.events is not None:
            got = f"{self.days} and {self.events}"
            raise ConfigError(f"Traffic takes days or events, not both; got {got}")
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                got = getattr(self, name)
                raise ConfigError(f"Traffic.{name} is a share from 0 to 1; got {got}")
        if not 0 <= self.fraud_rate <= 0.5 or self.disorder + self.late > 1:
            message = "Traffic needs fraud_rate in [0, 0.5] and disorder + late <= 1"
            got = f"{self.fraud_rate}, {self.disorder} and {self.late}"
            raise ConfigError(f"{message}; got {got}")
        if duration_us(self.late_delay) <= duration_us(self.max_delay):
            got = f"{self.late_delay} and {self.max_delay}"
            raise ConfigError(f"Traffic.late_delay must be longer than max_delay; got {got}")
        if len(self.drifts) > MOST_DRIFTS:
            raise ConfigError(f"a world has at most {MOST_DRIFTS} drifts; got {len(self.drifts)}")
        for drift in self.drifts:
            if drift.window[1] <= drift.window[0] or drift.size < 0:
                raise ConfigError(f"a drift ends after it begins, with a size >= 0; got {drift}")
            if drift.shape not in SHAPES or duration_us(drift.span) < duration_us("1h"):
                wanted = f"a shape of {', '.join(SHAPES)}, with a span of 1h or more"
                raise ConfigError(f"a drift has {wanted}; got {drift}")
            if isinstance(drift, PriceInflation) and (
                drift.until is None or drift.shape != "sudden"
            ):
                raise ConfigError(
                    f"prices grow evenly until a date; say until=... and no shape, got {drift}"
                )

    @property
    def begin(self) -> int:
        """The first instant, in microseconds."""
        return moment_us(self.start)

    @property
    def end(self) -> int:
        """The instant after the last, in microseconds; of `events` and of endless traffic, 2200."""
        return LATEST if self.days is None else self.begin + round(self.days * 86_400_000_000)

    @property
    def expected_rows(self) -> int | None:
        """About how many transactions, copies and labels there will be; None if it never ends."""
        if self.days is None and self.events is None:
            return None
        events = self.per_day * (self.days or 0) if self.events is None else self.events
        labels = self.fraud_rate * (1 - self.labels_missing)
        return round(events * (1 + self.duplicates + self.conflicts + labels))

    @property
    def definition(self) -> str:
        """Everything that decides the output, as one line of text."""
        values = {**asdict(self), "drifts": tuple(repr(drift) for drift in self.drifts)}
        return repr(sorted(values.items()))
