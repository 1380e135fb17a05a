"""Which machines will fail within two days, from their readings.

One entity, an optional number, a category, and a feature of our own: how steeply the vibration has
risen over the last day.

    python examples/machines/readings.py readings.ndjson
    headrace describe examples/machines/pipeline.py
    headrace replay readings.ndjson --pipeline examples/machines/pipeline.py --out run
"""

from headrace import (
    Category,
    Entity,
    Event,
    Label,
    Linear,
    Number,
    Pipeline,
    bucket,
    edges_at,
    kernel,
    log_edges,
    missing,
    symmetric_edges,
    value,
)

reading = Event(
    "reading",
    keys=("machine",),
    numbers=(
        Number("vibration", scale=3, maximum=1000),
        Number("temperature", scale=1, minimum=-50, maximum=500, required=False),
    ),
    categories=(Category("program"),),
    label=Label("failed", maturity="2d"),
)


@kernel("float64(int64[::1], int64[::1], int8[::1])")
def slope(times_us, vibration, status):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Mean rise of the vibration a day, by least squares; 0 of a single reading."""
    n = len(times_us)
    mean_time, mean_value = 0.0, 0.0
    for i in range(n):
        mean_time += (times_us[i] - times_us[0]) / n
        mean_value += vibration[i] / n
    product, square = 0.0, 0.0
    for i in range(n):
        offset = times_us[i] - times_us[0] - mean_time
        product += offset * (vibration[i] - mean_value)
        square += offset * offset
    return product / square * 86_400e6 / 1000 if square > 0 else 0.0


machine = Entity("machine")
features = {
    "vibration": value("vibration"),
    "temperature": value("temperature"),
    "no_temperature": missing("temperature"),
    "program": bucket("program", 16),
    "count_1d": machine.count("1d"),
    "vibration_slope": machine.custom(slope, "vibration", "1d"),
    "vibration_zscore": machine.zscore("vibration", "14d"),
    "hottest_1d": machine.maximum("temperature", "1d"),
    "programs_7d": machine.distinct("program", "7d"),
    "failures_30d": machine.positives("30d"),
    "since_failure": machine.since_positive("30d"),
}

pipeline = Pipeline(
    name="machines",
    event=reading,
    features=features,
    champion=Linear(
        inputs={
            "vibration": log_edges(0.1, 100),
            "temperature": edges_at(*range(20, 120, 5)),
            "no_temperature": edges_at(0.5),
            "program": edges_at(*range(1, 16)),
            "vibration_slope": symmetric_edges(0.01, 10),
            "vibration_zscore": symmetric_edges(0.1, 10, per_decade=6),
            "hottest_1d": edges_at(*range(20, 120, 5)),
            "since_failure": edges_at(1, 2, 4, 8, 16),
        },
        crosses=[("vibration_slope", "vibration_zscore")],
        bits=14,
    ),
    amount="vibration",
    every=500,
    lateness="30m",
)
