"""polars: rolling sums by time over the whole file. It counts later rows of the same second too."""

from __future__ import annotations

import polars as pl

from benchmarks.rivals import DELAY, INPUTS, WINDOWS
from benchmarks.transactions import Float64s, Transactions


def sample(transactions: Transactions) -> int:
    return len(transactions)


def prepare(transactions: Transactions) -> pl.DataFrame:
    of = transactions
    frame = pl.DataFrame(
        {
            "time": of.time,
            "customer": of.customer,
            "terminal": of.terminal,
            "cents": of.cents,
            "fraud": of.fraud,
        }
    )
    return frame.with_columns(pl.col("time").cast(pl.Datetime("us")), one=pl.lit(1))


def features(prepared: pl.DataFrame) -> Float64s:
    def past(column: str, key: str, days: int) -> pl.Expr:
        return pl.col(column).rolling_sum_by("time", window_size=f"{days}d").over(key)

    frame = prepared.with_columns(
        pl.col("fraud").cast(pl.Int64),
        amount=pl.col("cents") / 100,
        weekend=(pl.col("time").dt.weekday() >= 6).cast(pl.Float64),
        night=(pl.col("time").dt.hour() <= 6).cast(pl.Float64),
    ).with_columns(
        *(past("one", "customer", d).alias(f"customer_count_{d}d") for d in WINDOWS),
        *(past("cents", "customer", d).alias(f"customer_sum_{d}d") for d in WINDOWS),
        *(past("one", "terminal", d).alias(f"count_{d}d") for d in _spans()),
        *(past("fraud", "terminal", d).alias(f"fraud_{d}d") for d in _spans()),
    )
    frame = frame.with_columns(
        *(
            (pl.col(f"customer_sum_{d}d") / pl.col(f"customer_count_{d}d") / 100).alias(
                f"customer_mean_{d}d"
            )
            for d in WINDOWS
        ),
        *(_delayed("count", d).alias(f"terminal_count_{d}d") for d in WINDOWS),
        *(
            (_delayed("fraud", d) / _delayed("count", d)).fill_nan(0.0).alias(f"terminal_risk_{d}d")
            for d in WINDOWS
        ),
    )
    return frame.select(pl.col(INPUTS).cast(pl.Float64)).to_numpy()


def _spans() -> list[int]:
    return [DELAY, *(DELAY + days for days in WINDOWS)]


def _delayed(what: str, days: int) -> pl.Expr:
    return pl.col(f"{what}_{DELAY + days}d") - pl.col(f"{what}_{DELAY}d")
