"""The worked pipeline: what a card transaction is, what is computed of it, and who scores it."""

from __future__ import annotations

from jobs.definition import Pipeline, Slice
from jobs.expectation import Expectation, invariant, raises, steady
from models.bins import Edges, edges_at, ratio_edges
from models.linear import Linear
from operators.features import Entity, Feature, night, value, weekend
from streams.schema import Event, Label, Number

transaction = Event(
    "transaction",
    keys=("customer", "terminal"),
    numbers=(Number("amount", scale=2, maximum=100_000),),
    label=Label("fraud", maturity="7d"),
)
customer, terminal = Entity("customer"), Entity("terminal")

WINDOWS = ("1d", "7d", "30d")
published: dict[str, Feature] = {
    "amount": value("amount"),
    "weekend": weekend(),
    "night": night(),
    **{f"customer_count_{last}": customer.count(last) for last in WINDOWS},
    **{f"customer_mean_{last}": customer.mean("amount", last) for last in WINDOWS},
    **{f"terminal_count_{last}": terminal.count(last, delay="7d") for last in WINDOWS},
    **{f"terminal_risk_{last}": terminal.share(last, delay="7d", empty=0) for last in WINDOWS},
}
"""The 15 inputs of the published models on the Fraud Detection Handbook's data."""

# What a customer usually spends, by events that are old enough to trust, and what the last week
# looks like beside it.
spending: dict[str, Feature] = {
    "clean_ratio": customer.clean_ratio("amount", "90d"),
    "clean_zscore": customer.clean_zscore("amount", "90d"),
    "week_largest": customer.largest_clean_ratio("amount", within="7d", last="90d"),
    "week_excess": customer.clean_excess("amount", within="7d", last="90d"),
    "since_fraud": customer.since_positive("90d"),
}
# Whether a terminal is being abused now: the frauds since its last genuine transaction.
abuse: dict[str, Feature] = {
    "run_length": terminal.run("length", "90d"),
    "run_age": terminal.run("age", "90d"),
    "run_gap": terminal.run("gap", "90d"),
    "run_least": terminal.run("least", "90d", "amount"),
    "since_genuine": terminal.run("since_negative", "90d"),
}

amounts, ratios = ratio_edges(1, 1024), ratio_edges(1 / 8, 16)
inputs: dict[str, Edges] = {
    "amount": amounts,
    "amount_fine": ratio_edges(1, 1024, per_octave=16).of("amount"),
    "clean_ratio": ratios,
    "clean_ratio_coarse": ratio_edges(1 / 8, 16, per_octave=2).of("clean_ratio").for_crosses(),
    "clean_zscore": ratio_edges(1 / 2, 32),
    "week_largest": ratios,
    "week_excess": ratio_edges(1 / 4, 32, per_octave=2),
    "since_fraud": ratio_edges(7, 64),
    "run_length": ratio_edges(1, 64, per_octave=2),
    "run_age": ratio_edges(7, 64, per_octave=8),
    "run_gap": ratio_edges(1 / 8, 16, per_octave=2),
    "run_least": ratio_edges(4, 512, per_octave=2),
    "since_genuine": ratio_edges(7, 64),
}
champion = Linear(
    inputs=inputs,
    crosses=[
        ("clean_ratio_coarse", "week_excess"),
        ("amount", "clean_ratio"),
        ("run_age", "since_genuine"),
    ],
    bits=14,
    alpha=0.2,
    l1=1.0,
    l2=0.0,
)

counts, risks = ratio_edges(1, 128, per_octave=2), ratio_edges(1 / 128, 1, per_octave=2)
coarse = ratio_edges(1, 1024, per_octave=2)
published_only = Linear(
    inputs={
        "amount": amounts,
        "weekend": edges_at(0.5),
        "night": edges_at(0.5),
        **{f"customer_count_{last}": counts for last in WINDOWS},
        **{f"customer_mean_{last}": coarse for last in WINDOWS},
        **{f"terminal_count_{last}": counts for last in WINDOWS},
        **{f"terminal_risk_{last}": risks for last in WINDOWS},
    },
    crosses=[
        ("amount", "customer_mean_30d"),
        ("customer_mean_1d", "customer_mean_30d"),
        ("customer_mean_7d", "customer_mean_30d"),
        ("terminal_risk_1d", "terminal_risk_7d"),
        ("terminal_risk_7d", "terminal_risk_30d"),
        ("terminal_risk_1d", "terminal_risk_7d", "terminal_risk_30d"),
        ("amount", "customer_mean_1d", "customer_mean_30d"),
        ("amount", "customer_mean_7d", "customer_mean_30d"),
    ],
    bits=16,
    alpha=0.5,
    l1=1.0,
    l2=0.0,
)

behaviour: dict[str, Expectation] = {
    "a cent more is next to nothing": steady(
        {"amount": lambda amount: amount + 0.01}, within=0.5, share=0.99
    ),
    "what it is not given does not matter": invariant(
        {"night": lambda night: 1 - night, "weekend": lambda weekend: 1 - weekend},
        of=("champion",),
    ),
    "three times what the customer usually spends is worse": raises(
        {
            "amount": lambda amount: 3 * amount,
            "clean_ratio": lambda ratio: 3 * ratio,
            "clean_zscore": lambda z: z + 4,
        },
        where={"clean_ratio": lambda ratio: (ratio > 0.5) & (ratio < 1.5)},
        share=0.85,
    ),
    "another fraud at the terminal is worse": raises(
        {"run_length": lambda length: length + 1}, share=0.9, of=("champion",)
    ),
    "a terminal where half of all was fraud is worse": raises(
        {f"terminal_risk_{last}": lambda risk: risk * 0 + 0.5 for last in WINDOWS},
        share=0.9,
        of=("published inputs",),
    ),
}
"""What is true of its models once they have learnt for a while (`headrace check behaviour`)."""

pipeline = Pipeline(
    name="fraud",
    event=transaction,
    features={**published, **spending, **abuse},
    champion=champion,
    challengers={"published inputs": published_only},
    amount="amount",
    behaviour=behaviour,
    slices={"time of day": Slice(feature="night", values=("day", "night"))},
    every=1000,
)
