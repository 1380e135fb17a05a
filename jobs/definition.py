"""What a user declares: a pipeline is an event, its features, and the models that score it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from jobs.expectation import Expectation
from models.base import Model
from models.baselines import AmountRule, Prior, Random
from models.decisions import CHAMPION
from operators.drift.bucket import Scope
from operators.drift.responses import Declared
from operators.drift.watch import Watch, Watching
from operators.features import Feature
from operators.plan import Plan, compile_plan
from operators.ring import LAYOUT
from streams.schema import Event, duration_us


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A declared slice: a feature whose value picks the name, 0 the first. Judged apart."""

    feature: str
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """What a pipeline file defines as `pipeline`: an event, its features, the models that score it.

    `every`: examples between versions. `every_time`: event time between them, such as "1h"; none
    by default. `lateness`: how far events may be out of order and still be exact. `retention`: how
    long ids are remembered; by default the maturity and 7 days. `cap`: events a key's record holds
    before its oldest part is merged. `amount`: the input of the amount rule that is reported beside
    the models. `watch`: how it is watched for drift; None is not at all. `responses`: what is done
    about alarms (`operators.drift.responses`). `behaviour`: what is expected of the
    models (`jobs.expectation`).
    """

    name: str
    event: Event
    features: Mapping[str, Feature]
    champion: Model
    challengers: Mapping[str, Model] = field(default_factory=dict)
    amount: str = ""
    slices: Mapping[str, Slice] = field(default_factory=dict)
    behaviour: Mapping[str, Expectation] = field(default_factory=dict)
    every: int = 2000
    every_time: str = "0s"
    lateness: str = "1h"
    retention: str = ""
    cap: int = 4096
    alert_budget: float = 0.01
    top_k: int = 100
    watch: Watch | None = field(default_factory=Watch)
    responses: tuple[Declared, ...] = ()
    file: str = ""

    @property
    def contenders(self) -> dict[str, Model]:
        """Champion and challengers: those of its models that may score."""
        return {CHAMPION: self.champion, **self.challengers}

    @property
    def models(self) -> dict[str, Model]:
        """Champion, challengers, then the baselines that are always reported."""
        rule: dict[str, Model] = {"amount": AmountRule(self.amount)} if self.amount else {}
        return {**self.contenders, "prior": Prior(), **rule, "random": Random()}

    @property
    def retention_us(self) -> int:
        """How long ids are remembered."""
        if self.retention:
            return duration_us(self.retention)
        return self.event.label.maturity_us + 7 * duration_us("1d")

    def plan(self) -> Plan:
        """How its features are computed; ConfigError where one cannot be."""
        lateness_us = duration_us(self.lateness)
        return compile_plan(self.event, self.features, lateness_us=lateness_us, cap=self.cap)

    def watching(self) -> Watching | None:
        """What watches it, having seen nothing. No state of it depends on how it is watched."""
        if self.watch is None:
            return None
        scope = Scope(
            names=self.plan().names,
            slices={name: each.values for name, each in self.slices.items()},
            maturity_us=self.event.label.maturity_us,
            budget=self.alert_budget,
            settle_us=tuple(each.horizon_us for each in self.features.values()),
            bucket=self.watch.bucket,
        )
        return self.watch.bind(scope, acting=bool(self.responses))

    @property
    def inputs(self) -> str:
        """A short hash of the features, names and order included: of what its models are given."""
        text = repr([(name, repr(feature)) for name, feature in self.features.items()])
        return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()

    @property
    def definition(self) -> str:
        """A hash of everything the state depends on; the same definition reads the same state."""
        features = {name: repr(feature) for name, feature in self.features.items()}
        cadence = (self.every, self.every_time, self.lateness, self.retention_us)
        parts = (LAYOUT, self.event, features, self.models, *cadence)
        rest = (self.responses,) if self.responses else ()
        text = repr((*parts, self.cap, self.slices, self.top_k, *rest))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
