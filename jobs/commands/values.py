"""What options take besides text and numbers: durations, moments, speeds, columns, filters."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import Any

import click

from jobs.clients.topic_filter import Clause
from streams.errors import ConfigError
from streams.schema import duration_us
from streams.simulation.traffic import moment_us


class Duration(click.ParamType):
    """`7d`, `12h`, `30m` or `45s`; stays text."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            duration_us(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value)


class Moment(click.ParamType):
    """An ISO 8601 date or time, UTC unless it says otherwise; stays text."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            moment_us(value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)
        return str(value)


class Columns(click.ParamType):
    """`field=column,field=column`; becomes a dict."""

    name = "field=column,…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, str]:
        pairs = [entry.partition("=") for entry in value.split(",") if entry.strip()]
        for field, equals, column in pairs:
            if not (field.strip() and equals and column.strip()):
                got = f"got {field + equals + column!r}"
                self.fail(f"wanted field=column pairs, as in id=TX_ID,time=WHEN; {got}", param, ctx)
        return {field.strip(): column.strip() for field, _, column in pairs}


class Speed(click.ParamType):
    """`10000x` or `10000`, a factor, or `max`, which becomes infinity."""

    name = "speed"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            speed = math.inf if value == "max" else float(str(value).removesuffix("x"))
        except ValueError:
            speed = math.nan
        if not speed > 0:
            self.fail(f"wanted a factor such as 10000x, or max; got {value!r}", param, ctx)
        return speed


class Since(click.ParamType):
    """`beginning`, `end`, a duration before now or a moment; these two become microseconds UTC."""

    name = "place"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | int:
        if value in ("beginning", "end"):
            return str(value)
        with suppress(ValueError):
            return time.time_ns() // 1000 - duration_us(value)
        with suppress(ConfigError):
            return moment_us(value)
        wanted = "wanted beginning, end, a duration before now such as 10m, or a date or time"
        raise click.BadParameter(f"{wanted}; got {value!r}", ctx, param)


class Filter(click.ParamType):
    """`field=value` and the like; becomes a `Clause`."""

    name = "field=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Clause:
        try:
            return Clause.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION, MOMENT, COLUMNS, SPEED = Duration(), Moment(), Columns(), Speed()
SINCE, FILTER = Since(), Filter()
DRIFT = click.option(
    "--drift", multiple=True, metavar="KIND@FROM[..UNTIL][=SIZE][:SHAPE[/SPAN]]",
    help="A change of the simulated world at a date: inputs, prior, concept, population, tactic, "
    "attacker, prices, holidays, outage, unit or missing; sudden, gradual, incremental or "
    "recurring. May be given several times.",
)  # fmt: skip
"""The option by which a simulated world changes, text until it is simulated."""
