"""What a pipeline file imports.

from headrace import Entity, Event, Label, Linear, Number, Pipeline, value
"""

from jobs.definition import Pipeline, Slice
from jobs.expectation import Expectation, invariant, lowers, raises, steady
from models.anomaly import HalfSpaceTrees
from models.baselines import AmountRule, Prior, Random
from models.bins import (
    Edges,
    automatic_edges,
    edges_at,
    log_edges,
    quantile_edges,
    ratio_edges,
    symmetric_edges,
)
from models.boosted import Boosted
from models.calibration import Calibration
from models.ensemble import Ensemble
from models.forest import Forest
from models.isolation import IsolationForest
from models.linear import Linear
from models.neighbours import Neighbours
from models.neural import Attention, Neural
from models.renewed import Renewed
from models.replay import Replay
from models.river import River, for_river
from operators.drift.concept import Concept
from operators.drift.declared import Covariate, Scores
from operators.drift.delay import LabelDelay
from operators.drift.performance import Performance
from operators.drift.prior import Positives
from operators.drift.responses import (
    CorrectPrior,
    Every,
    Fork,
    On,
    RaiseRate,
    Reset,
    Retrain,
    RollBack,
    Start,
    Tell,
)
from operators.drift.volume import Volume
from operators.drift.watch import Watch
from operators.features import (
    Entity,
    Feature,
    bucket,
    difference,
    hour,
    missing,
    night,
    ratio,
    standardised,
    value,
    weekday,
    weekend,
)
from streams.errors import ConfigError, HeadraceError, InputError, OutputError, StateError
from streams.jit import kernel
from streams.schema import Category, Event, Label, Number

__all__ = [
    "AmountRule",
    "Attention",
    "Boosted",
    "Calibration",
    "Category",
    "Concept",
    "ConfigError",
    "CorrectPrior",
    "Covariate",
    "Edges",
    "Ensemble",
    "Entity",
    "Event",
    "Every",
    "Expectation",
    "Feature",
    "Forest",
    "Fork",
    "HalfSpaceTrees",
    "HeadraceError",
    "InputError",
    "IsolationForest",
    "Label",
    "LabelDelay",
    "Linear",
    "Neighbours",
    "Neural",
    "Number",
    "On",
    "OutputError",
    "Performance",
    "Pipeline",
    "Positives",
    "Prior",
    "RaiseRate",
    "Random",
    "Renewed",
    "Replay",
    "Reset",
    "Retrain",
    "River",
    "RollBack",
    "Scores",
    "Slice",
    "Start",
    "StateError",
    "Tell",
    "Volume",
    "Watch",
    "automatic_edges",
    "bucket",
    "difference",
    "edges_at",
    "for_river",
    "hour",
    "invariant",
    "kernel",
    "log_edges",
    "lowers",
    "missing",
    "night",
    "quantile_edges",
    "raises",
    "ratio",
    "ratio_edges",
    "standardised",
    "steady",
    "symmetric_edges",
    "value",
    "weekday",
    "weekend",
]
