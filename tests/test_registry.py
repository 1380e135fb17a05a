"""Versions at rest come back to the bit or not at all."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.base import Model, Version
from models.baselines import AmountRule, Prior
from models.checks import NAMES, examples
from models.decisions import Decision
from models.linear import Linear
from models.manifest import Manifest, content_hash
from models.registry import Registry, spare
from models.river import River
from streams.errors import StateError

ABOUT: dict[str, Any] = {"name": "champion", "pipeline": "abc", "examples": 240}


def about(sequence: int, **known: Any) -> Manifest:
    return Manifest(sequence=sequence, **ABOUT, **known)


def learnt(model: Model) -> Version:
    learner = model.bind(NAMES)
    learner.learn_many(*examples())
    return learner.version()


@pytest.fixture
def version() -> Version:
    return learnt(Linear(bits=10))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "versions")


def models() -> list[Model]:
    river = pytest.importorskip("river.linear_model")
    return [Linear(bits=10), Prior(), AmountRule(), River(river.LogisticRegression())]


@pytest.mark.parametrize("model", models(), ids=lambda model: type(model).__name__)
def test_a_version_comes_back_to_the_bit(registry: Registry, model: Model) -> None:
    version = learnt(model)
    registry.publish(version, about(7, metrics={"auc": 0.9}))
    again = registry.load(7)
    x, _, _ = examples(seed=5)
    assert np.array_equal(again.predict_many(x), version.predict_many(x))
    assert np.array_equal(again.reasons_many(x, 3), version.reasons_many(x, 3))
    assert again.threshold == version.threshold
    assert content_hash(again) == content_hash(version) == registry.manifest(7).content


def test_a_manifest_says_what_was_published(registry: Registry, version: Version) -> None:
    published = registry.publish(
        version, about(3, parent=2, since_us=10, until_us=20, metrics={"auc": 0.9})
    )
    assert published == registry.manifest(3)
    assert (published.names, published.kind, published.parent) == (NAMES, "linear", 2)
    assert (published.since_us, published.until_us, published.metrics) == (10, 20, {"auc": 0.9})


def test_a_metric_that_is_not_yet_a_number_is_none(registry: Registry, version: Version) -> None:
    assert registry.publish(version, about(1, metrics={"auc": math.nan})).metrics == {"auc": None}


def test_the_same_content_may_be_published_again(registry: Registry, version: Version) -> None:
    first = registry.publish(version, about(1))
    assert registry.publish(version, about(1)) == first


def test_a_number_is_never_used_for_other_content(registry: Registry, version: Version) -> None:
    registry.publish(version, about(1))
    with pytest.raises(StateError, match="never used again"):
        registry.publish(learnt(Prior()), about(1))
    assert registry.load(1).kind == "linear"


def test_a_number_stays_taken_when_its_weights_are_dropped(
    registry: Registry, version: Version
) -> None:
    registry.publish(version, about(1))
    registry.drop(1)
    assert registry.kept() == {}
    with pytest.raises(StateError, match="no longer kept"):
        registry.load(1)
    with pytest.raises(StateError, match="never used again"):
        registry.publish(learnt(Prior()), about(1))


def test_weights_without_a_manifest_were_never_published(
    registry: Registry, version: Version, tmp_path: Path
) -> None:
    (tmp_path / "versions" / "000000000001.safetensors").write_bytes(b"half a write")
    assert registry.sequences() == []
    registry.publish(version, about(1))
    assert content_hash(registry.load(1)) == content_hash(version)


def test_nothing_but_the_files_of_versions_is_left_behind(
    registry: Registry, version: Version, tmp_path: Path
) -> None:
    registry.publish(version, about(1))
    names = sorted(path.name for path in (tmp_path / "versions").glob("*.*"))
    assert names == ["000000000001.json", "000000000001.safetensors"]


def test_of_many_versions_the_newest_stay_and_ever_fewer_of_the_older_ones() -> None:
    kept: list[int] = []
    for sequence in range(1, 5001):
        kept.append(sequence)
        for gone in spare(kept, 8):
            kept.remove(gone)
    ages = [5000 - each for each in reversed(kept)]
    assert ages[:8] == list(range(8))
    assert all(older <= 2 * newer for newer, older in pairwise(ages[7:]))
    assert kept[0] == 1
    assert len(kept) < 30


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
def test_every_damaged_byte_is_noticed(
    registry: Registry, version: Version, tmp_path: Path, suffix: str
) -> None:
    registry.publish(version, about(1))
    path = tmp_path / "versions" / f"000000000001.{suffix}"
    raw = path.read_bytes()
    for place in np.linspace(0, len(raw) - 1, 40).astype(int):
        damaged = bytearray(raw)
        damaged[place] ^= 1
        path.write_bytes(bytes(damaged))
        with pytest.raises(StateError, match="00001"):
            registry.load(1)


def test_a_manifest_edited_with_its_checksum_needs_the_key(
    version: Version, tmp_path: Path
) -> None:
    signed = Registry(tmp_path, key=b"ours")
    signed.publish(version, about(1))
    assert signed.load(1).kind == "linear"
    Registry(tmp_path).publish(version, about(2))
    with pytest.raises(StateError, match="not signed"):
        signed.load(2)
    with pytest.raises(StateError, match="another key"):
        Registry(tmp_path, key=b"theirs").load(1)


def test_a_misplaced_manifest_is_noticed(
    registry: Registry, version: Version, tmp_path: Path
) -> None:
    registry.publish(version, about(1))
    folder = tmp_path / "versions"
    (folder / "000000000002.json").write_bytes((folder / "000000000001.json").read_bytes())
    with pytest.raises(StateError, match="misplaced"):
        registry.load(2)


def test_a_manifest_is_json_to_read(registry: Registry, version: Version, tmp_path: Path) -> None:
    registry.publish(version, about(1))
    manifest = json.loads((tmp_path / "versions" / "000000000001.json").read_text())
    assert manifest["name"] == "champion"


def test_a_manifest_from_before_it_told_as_much_is_still_read(
    registry: Registry, version: Version, tmp_path: Path
) -> None:
    registry.publish(version, about(1))
    path = tmp_path / "versions" / "000000000001.json"
    said = json.loads(path.read_bytes())
    for later in ("major", "minor", "positions", "parameters", "code"):
        del said[later]
    path.write_text(json.dumps(said))
    assert registry.load(1).kind == "linear"
    assert registry.manifest(1).title == "0.1.abc"


def test_a_decision_is_the_first_that_has_its_number(registry: Registry) -> None:
    said: dict[str, Any] = {"action": "promote", "model": "a", "sequence": 3, "before": 2}
    said |= {"pipeline": "abc", "at_us": 0}
    first, second = (Decision(number=1, by=by, **said) for by in ("ann", "ben"))
    assert registry.decide(first)
    assert not registry.decide(second)
    assert registry.decide(first)
    kept = registry.decision(1)
    assert kept and kept.by == "ann"
    assert registry.decision(2) is None


def test_an_absent_version_says_what_there_is(registry: Registry, version: Version) -> None:
    registry.publish(version, about(4))
    with pytest.raises(StateError, match="4 to 4"):
        registry.load(9)
