"""Features as a pipeline file declares them.

    customer, terminal = Entity("customer"), Entity("terminal")
    features = {
        "amount": value("amount"),
        "customer_mean_7d": customer.mean("amount", "7d"),
        "terminal_risk_7d": terminal.share("7d", delay="7d", empty=0.0),
    }

A window of `last` with a `delay` is (t - delay - last, t - delay], the current event included when
there is no delay. Where there is nothing to compute from a feature is NaN, unless `empty` says
otherwise. `operators.plan` compiles them.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from operators import reading
from streams.schema import duration_us

NAN = float("nan")
EVENT_OPERATIONS = ("value", "missing", "weekend", "night", "hour", "weekday", "bucket")
LAGGED = ("since_last", "lag", "same")
"""Those of the n-th event before; `argument` is n - 1."""
DERIVED_OPERATIONS = ("ratio", "difference", "standardised")


@dataclass(frozen=True, slots=True)
class Feature:
    """One declared feature: an operation, what it looks at, and over which window."""

    operation: str
    entity: str = ""
    field: str = ""
    last: str = "0s"
    delay: str = "0s"
    empty: float | None = None
    within: str = "0s"
    argument: int = 0
    factor: float = 0.0
    parts: tuple[Feature, ...] = ()
    function: Callable[..., Any] | None = dataclasses.field(default=None, repr=False)
    source: str = ""
    """What `function` computes, as its text: two features of the same text are the same."""

    @property
    def horizon_us(self) -> int:
        """How far back it can see, in microseconds."""
        own = duration_us(self.last) + duration_us(self.delay)
        return max((own, *(part.horizon_us for part in self.parts)))

    @property
    def missing_value(self) -> float:
        """What it is where there is nothing to compute from."""
        return NAN if self.empty is None else self.empty

    def __str__(self) -> str:
        if self.operation in DERIVED_OPERATIONS:
            return f"{self.operation}({', '.join(map(str, self.parts))})"
        words = [self.field] if self.field else []
        if self.operation == "run":
            words.insert(0, list(RUNS)[self.argument])
        if self.function is not None:
            words.insert(0, self.function.__name__)
        if self.within != "0s":
            words.append(f"within {self.within}")
        if self.last != "0s":
            words.append(self.last)
        if self.delay != "0s":
            words.append(f"delay {self.delay}")
        if self.operation in LAGGED and self.argument:
            words.append(f"n {self.argument + 1}")
        owner = f"{self.entity}." if self.entity else ""
        return f"{owner}{self.operation}({', '.join(words)})"


def value(field: str) -> Feature:
    """A number of the event, in its own units."""
    return Feature("value", field=field)


def missing(field: str) -> Feature:
    """1 where a field was not given, else 0."""
    return Feature("missing", field=field)


def weekend() -> Feature:
    """1 on Saturday and Sunday (UTC), else 0."""
    return Feature("weekend")


def night(last_hour: int = 6) -> Feature:
    """1 from midnight to the end of `last_hour` (UTC), else 0."""
    return Feature("night", argument=last_hour)


def hour() -> Feature:
    """Hour of the day, 0 to 23 (UTC)."""
    return Feature("hour")


def weekday() -> Feature:
    """Day of the week, Monday 0 to Sunday 6 (UTC)."""
    return Feature("weekday")


def bucket(category: str, buckets: int = 1024) -> Feature:
    """A category as a number below `buckets`, by its hash; NaN where it is missing."""
    return Feature("bucket", field=category, argument=buckets)


def ratio(above: Feature, below: Feature) -> Feature:
    """One feature over another; NaN where the lower one is zero or either is missing."""
    return Feature("ratio", parts=(above, below))


def difference(left: Feature, right: Feature) -> Feature:
    """One feature less another."""
    return Feature("difference", parts=(left, right))


def standardised(what: Feature, mean: Feature, deviation: Feature) -> Feature:
    """(what - mean) / deviation: a z-score. NaN where the deviation is zero or any is missing."""
    return Feature("standardised", parts=(what, mean, deviation))


@dataclass(frozen=True, slots=True)
class Entity:
    """The features of one entity key: each reads that key's own events.

    >>> str(Entity("customer").mean("amount", "7d"))
    'customer.mean(amount, 7d)'
    """

    key: str

    def count(self, last: str, delay: str = "0s") -> Feature:
        """How many events."""
        return Feature("count", self.key, last=last, delay=delay)

    def sum(self, field: str, last: str, delay: str = "0s") -> Feature:
        """The sum of a number, exact."""
        return Feature("sum", self.key, field, last, delay)

    def mean(self, field: str, last: str, delay: str = "0s", empty: float | None = None) -> Feature:
        """The mean of a number over the events that have it."""
        return Feature("mean", self.key, field, last, delay, empty)

    def std(self, field: str, last: str, delay: str = "0s", empty: float | None = None) -> Feature:
        """The sample standard deviation of a number."""
        return Feature("std", self.key, field, last, delay, empty)

    def past_mean(self, field: str, last: str) -> Feature:
        """The mean before the current event."""
        return Feature("past_mean", self.key, field, last)

    def past_std(self, field: str, last: str) -> Feature:
        """The sample standard deviation before the current event."""
        return Feature("past_std", self.key, field, last)

    def zscore(self, field: str, last: str) -> Feature:
        """How many deviations the event lies from the key's own past."""
        past = self.past_mean(field, last), self.past_std(field, last)
        return standardised(value(field), *past)

    def minimum(self, field: str, last: str, delay: str = "0s") -> Feature:
        """The least of a number."""
        return Feature("minimum", self.key, field, last, delay)

    def maximum(self, field: str, last: str, delay: str = "0s") -> Feature:
        """The greatest of a number."""
        return Feature("maximum", self.key, field, last, delay)

    def distinct(self, field: str, last: str) -> Feature:
        """How many different values of a category or of another key."""
        return Feature("distinct", self.key, field, last)

    def seen(self, field: str, last: str) -> Feature:
        """How many earlier events had this category or other key: 0 for a new pair."""
        return Feature("seen", self.key, field, last)

    def positives(self, last: str, delay: str = "0s") -> Feature:
        """How many events are labelled positive, as far as known."""
        return Feature("positives", self.key, last=last, delay=delay)

    def share(self, last: str, delay: str = "0s", empty: float | None = None) -> Feature:
        """The share of events labelled positive, as far as known. Delay it by the maturity."""
        return Feature("share", self.key, last=last, delay=delay, empty=empty)

    def since_last(self, last: str, n: int = 1) -> Feature:
        """Days since the n-th event before."""
        return Feature("since_last", self.key, last=last, argument=_lag(n))

    def lag(self, field: str, last: str, n: int = 1) -> Feature:
        """A number of the n-th event before; NaN where that is merged with others."""
        return Feature("lag", self.key, field, last, argument=_lag(n))

    def same(self, field: str, last: str, n: int = 1) -> Feature:
        """1 if the n-th event before had this event's category, other key or number, else 0."""
        return Feature("same", self.key, field, last, argument=_lag(n))

    def since_first(self, last: str) -> Feature:
        """Days since the first event of the window: how long the key is known."""
        return Feature("since_first", self.key, last=last)

    def since_positive(self, last: str) -> Feature:
        """Days since the latest earlier event that is known to be positive."""
        return Feature("since_positive", self.key, last=last)

    def hour_share(self, last: str, width: str = "1h") -> Feature:
        """The share of earlier events at about this time of day (UTC), `width` either side."""
        return Feature("hour_share", self.key, last=last, argument=duration_us(width))

    def run(self, what: str, last: str, field: str = "") -> Feature:
        """The label's history: the latest run of positives, back to the latest known negative.

        `length`, `age`, `gap`, `least` (of `field`) or `since_negative`, as
        `operators.reading.run_feature` defines them. Raises ValueError for any other word.
        """
        if what not in RUNS or (what == "least") != bool(field):
            raise ValueError(f"run() knows {', '.join(RUNS)}, least with a field; got {what!r}")
        return Feature("run", self.key, field, last, argument=RUNS[what])

    def clean_mean(self, field: str, last: str, enough: int = 5) -> Feature:
        """The mean of the key's clean past.

        The clean past is the matured events of the window that are not labelled positive; while
        there are fewer than `enough`, the young ones that are not positive count too. The current
        event never does.
        """
        return Feature("clean_mean", self.key, field, last, argument=enough)

    def clean_ratio(self, field: str, last: str, enough: int = 5) -> Feature:
        """The event's value over `clean_mean`."""
        return Feature("clean_ratio", self.key, field, last, argument=enough)

    def clean_zscore(self, field: str, last: str, enough: int = 5) -> Feature:
        """How many deviations the event's value lies from `clean_mean`; missing before `enough`."""
        return Feature("clean_zscore", self.key, field, last, argument=enough)

    def largest_clean_ratio(self, field: str, within: str, last: str, enough: int = 5) -> Feature:
        """The largest earlier value of the last `within`, over `clean_mean`."""
        return Feature("largest_clean_ratio", self.key, field, last, within=within, argument=enough)

    def clean_excess(
        self, field: str, within: str, last: str, above: float = 2.0, enough: int = 5
    ) -> Feature:
        """By how much earlier values of the last `within` exceed `above` times `clean_mean`, in
        all.
        """
        return Feature(
            "clean_excess", self.key, field, last, within=within, factor=above, argument=enough
        )

    def custom(self, function: Callable[..., Any], field: str, last: str) -> Feature:
        """Your own kernel: `float64(int64[::1] times_us, int64[::1] values, int8[::1] status)`.

        Times, values (in units of 10**-scale) and what is known of the label (1, 0, -1 unknown) of
        the key's events in the window, oldest first, the current one last.
        """
        source = inspect.getsource(getattr(function, "py_func", function))
        return Feature("custom", self.key, field, last, function=function, source=source)


def _lag(n: int) -> int:
    if n < 1:
        raise ValueError(f"the n-th event before wants n of at least 1; got {n}")
    return n - 1


RUNS = {
    "length": reading.RUN_LENGTH,
    "age": reading.RUN_AGE,
    "gap": reading.RUN_GAP,
    "least": reading.RUN_LEAST,
    "since_negative": reading.SINCE_NEGATIVE,
}
CODES = {
    "count": reading.COUNT,
    "sum": reading.SUM,
    "positives": reading.SUM,
    "mean": reading.MEAN,
    "share": reading.SHARE,
    "std": reading.STD,
    "past_mean": reading.PAST_MEAN,
    "past_std": reading.PAST_STD,
    "since_last": reading.SINCE_LAST,
    "lag": reading.LAG,
    "same": reading.SAME,
    "since_first": reading.SINCE_FIRST,
    "minimum": reading.MINIMUM,
    "maximum": reading.MAXIMUM,
    "distinct": reading.DISTINCT,
    "seen": reading.OCCURRENCES,
    "hour_share": reading.HOUR_SHARE,
    "since_positive": reading.SINCE_POSITIVE,
    "run": reading.RUN,
    "clean_mean": reading.CLEAN_MEAN,
    "clean_ratio": reading.CLEAN_RATIO,
    "clean_zscore": reading.CLEAN_ZSCORE,
    "largest_clean_ratio": reading.LARGEST_CLEAN_RATIO,
    "clean_excess": reading.CLEAN_EXCESS,
    "custom": reading.CUSTOM,
}
