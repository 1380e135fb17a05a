"""The kinds of versions, by the name that a manifest has for each, but for those made of others."""

from __future__ import annotations

from models.anomaly import HalfSpaceVersion
from models.base import Version
from models.baselines import PriorVersion, RuleVersion
from models.boosted import BoostedVersion
from models.forest import ForestVersion
from models.isolation import IsolationVersion
from models.linear import LinearVersion
from models.neighbours import NeighboursVersion
from models.neural_version import NeuralVersion
from models.river import RiverVersion

SIMPLE: dict[str, type[Version]] = {
    kind.kind: kind
    for kind in (
        BoostedVersion,
        ForestVersion,
        HalfSpaceVersion,
        IsolationVersion,
        LinearVersion,
        NeighboursVersion,
        NeuralVersion,
        PriorVersion,
        RuleVersion,
        RiverVersion,
    )
}
