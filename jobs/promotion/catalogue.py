"""What there is of a pipeline's models, what was decided, and what may be decided next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from models.decisions import Decision, Decisions
from models.manifest import Manifest
from streams.errors import ConfigError, StateError

Action = Literal["promote", "rollback"]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Versions and decisions as they were read from one place."""

    where: str
    """The topic or the folder."""
    pipeline: str
    """The definition of the pipeline that is asked about."""
    contenders: tuple[str, ...]
    """Its champion and challengers."""
    baselines: tuple[str, ...]
    versions: Mapping[int, Manifest]
    """All there are, of other pipelines too, ascending."""
    kept: frozenset[int]
    """Those whose weights are kept."""
    decisions: Decisions

    @property
    def own(self) -> list[Manifest]:
        """Versions of this pipeline, ascending."""
        return [each for each in self.versions.values() if each.pipeline == self.pipeline]

    @property
    def in_force(self) -> int:
        """The version that is to score; 0 is the prior."""
        held, newest = self.decisions.held, self.newest(self.decisions.model)
        if held is not None:
            return held
        return newest.sequence if newest else 0

    def newest(self, model: str) -> Manifest | None:
        """The newest version of a model, if one is there whole."""
        mine = [each for each in self.own if each.name == model and each.sequence in self.kept]
        return mine[-1] if mine else None

    def find(self, text: str) -> Manifest:
        """The version of this number or name, of which the hash may be left out; or the newest of a
        model. ConfigError where there is none.
        """
        if text in self.contenders:
            return self._newest_of(text)
        others = (each for each in self.versions.values() if each.pipeline != self.pipeline)
        for each in [*reversed(self.own), *others]:
            if text in (str(each.sequence), each.title, each.title.rpartition(".")[0]):
                return each
        raise ConfigError(
            f"{self.where}: wanted a version, by number or name as in 3.17, or a model "
            f"({', '.join(self.contenders)}), got {text!r}; headrace models list has them"
        )

    def _newest_of(self, model: str) -> Manifest:
        newest = self.newest(model)
        if newest is not None:
            return newest
        others = {each.pipeline[:8] for each in self.versions.values()} - {self.pipeline[:8]}
        if others and not self.own:
            raise StateError(
                f"{self.where}: has versions for pipeline {', '.join(sorted(others))} alone, this "
                f"is {self.pipeline[:8]}; name its file with --pipeline"
            )
        raise StateError(
            f"{self.where}: no version of {model} is there yet; one comes when the learner has "
            "learnt enough"
        )

    def promote(self, text: str, *, by: str, reason: str, at_us: int) -> Decision:
        """The decision that makes a model score, given by its name or by a version of it.

        ConfigError or StateError where it may not.
        """
        if text in self.baselines:
            raise ConfigError(
                f"{text}: is a baseline, which is only measured; promote one of "
                f"{', '.join(self.contenders)}"
            )
        version = self._for_us(self.find(text))
        if self.decisions.held is None and version.name == self.decisions.model:
            raise StateError(f"{version.name}: scores already; nothing is changed")
        newest = self._newest_of(version.name)
        return self._decision("promote", newest, by=by, reason=reason, at_us=at_us)

    def rollback(self, text: str | None, *, by: str, reason: str, at_us: int) -> Decision:
        """The decision that makes one version score again, by default the one before.

        That is the version that scored when a model was promoted last, and otherwise the one before
        that which scores now, of the same model. ConfigError or StateError where it may not be.
        """
        version = self._for_us(self.find(text)) if text else self._before()
        if version.sequence == self.decisions.held:
            raise StateError(f"version {version.sequence}: scores already; nothing is changed")
        if version.sequence not in self.kept:
            kept = [each.sequence for each in self.own if each.sequence in self.kept]
            raise StateError(
                f"version {version.sequence}: its weights are no longer kept; those of "
                f"{', '.join(map(str, kept))} are"
            )
        return self._decision("rollback", version, by=by, reason=reason, at_us=at_us)

    def _before(self) -> Manifest:
        mine = [each for each in self.decisions.log if each.pipeline == self.pipeline]
        if mine and mine[-1].action == "promote" and mine[-1].before:
            return self.versions[mine[-1].before]
        older = [
            each
            for each in self.own
            if each.name == self.decisions.model
            and each.sequence in self.kept
            and each.sequence < self.in_force
        ]
        if not older:
            raise StateError(
                f"{self.where}: before version {self.in_force} none of {self.decisions.model} is "
                "kept; name the version to go back to"
            )
        return older[-1]

    def _for_us(self, version: Manifest) -> Manifest:
        if version.pipeline != self.pipeline:
            raise StateError(
                f"version {version.sequence}: was made for pipeline {version.pipeline[:8]}, this "
                f"is {self.pipeline[:8]}, whose features are others or in another order; name the "
                "file it was made for with --pipeline"
            )
        return version

    def _decision(
        self, action: Action, version: Manifest, *, by: str, reason: str, at_us: int
    ) -> Decision:
        return Decision(
            number=len(self.decisions.log) + 1,
            action=action,
            model=version.name,
            sequence=version.sequence,
            before=self.in_force,
            pipeline=self.pipeline,
            by=by,
            reason=reason,
            at_us=at_us,
        )


def differences(one: Manifest, other: Manifest) -> Iterator[tuple[str, object, object]]:
    """What two manifests say otherwise: name, of the one, of the other."""
    for name in one.__struct_fields__:
        left, right = getattr(one, name), getattr(other, name)
        if name in ("checksum", "signature") or left == right:
            continue
        if not isinstance(left, dict):
            yield name, left, right
            continue
        for key in dict.fromkeys([*left, *right]):
            if left.get(key) != right.get(key):
                yield f"{name}.{key}", left.get(key), right.get(key)
