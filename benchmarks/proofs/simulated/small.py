"""The pipeline of the simulation: as little as has windows, two entities and a model that learns.

A version of each of two models after every fourth example, so that a hundred events see a dozen.
"""

from __future__ import annotations

from benchmarks.proofs.watched import ALL
from headrace import Entity, Event, Label, Linear, Number, Pipeline, ratio_edges, value

CUSTOMER, TERMINAL = Entity("customer"), Entity("terminal")

pipeline = Pipeline(
    name="small",
    event=Event(
        "transaction",
        keys=("customer", "terminal"),
        label=Label("fraud", maturity="6h"),
        numbers=(Number("amount", scale=2, maximum=10_000),),
        max_bytes=512,
    ),
    features={
        "amount": value("amount"),
        "count": CUSTOMER.count("2h"),
        "mean": CUSTOMER.mean("amount", "8h"),
        "risk": TERMINAL.share("12h", delay="1h", empty=0.0),
    },
    champion=Linear(
        inputs={"amount": ratio_edges(1, 1024), "count": ratio_edges(1, 16)},
        crosses=[("amount", "count")],
        bits=6,
        alpha=0.5,
    ),
    challengers={"plain": Linear(inputs={"amount": ratio_edges(1, 1024)}, bits=4)},
    every=4,
    lateness="30m",
    retention="2d",
    cap=64,
    watch=ALL,
)
