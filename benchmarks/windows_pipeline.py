"""The reduced job, as a pipeline file: the customer windows that the peers make, and no more."""

from headrace import Entity, Event, Label, Number, Pipeline, Prior

DAYS = (1, 7, 30)
payment = Event(
    "payment",
    keys=("customer",),
    numbers=(Number("amount", scale=2, maximum=100_000),),
    label=Label("fraud", maturity="7d"),
)
customer = Entity("customer")
features = {}
for days in DAYS:
    features[f"count_{days}d"] = customer.count(f"{days}d")
    features[f"mean_{days}d"] = customer.mean("amount", f"{days}d")
pipeline = Pipeline(name="windows", event=payment, features=features, champion=Prior())
