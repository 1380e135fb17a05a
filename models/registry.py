"""Versions at rest, and who decided what of them: a folder that is only ever added to.

    000000000007.safetensors      the tensors
    000000000007.json             the manifest, written last: without one it was never published
    decisions/000000000001.json   the first decision (`models.decisions`)
    decisions/000000000001.batch  the batch with which it began to count, in a run of one process

Every file is written whole or not at all. A manifest carries a checksum of itself and the content
hash of what it describes, and an HMAC-SHA256 signature when the deployment has a key; a decision
likewise, without the content.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from models.base import Version
from models.decisions import DECODER, Decision
from models.manifest import Manifest, Seal
from streams.errors import StateError

_DIGITS = 12


class Registry:
    """The versions in a folder; `key` is the deployment's, and with it only what it signed is read.

    One process writes versions, any decide, and any number read.
    """

    def __init__(self, folder: Path, key: bytes | None = None) -> None:
        (folder / "decisions").mkdir(parents=True, exist_ok=True)
        self._folder, self._seal = folder, Seal(key)

    def sequences(self) -> list[int]:
        """Every number in use, ascending."""
        return sorted(int(path.stem) for path in self._folder.glob("[0-9]*.json"))

    def kept(self) -> dict[int, Manifest]:
        """The versions whose weights are here, ascending, but for those that `manifest` refuses."""
        found = {}
        for path in sorted(self._folder.glob("[0-9]*.safetensors")):
            with suppress(StateError):
                manifest = self.manifest(int(path.stem))
                found[manifest.sequence] = manifest
        return found

    def by_model(self, pipeline: str) -> dict[str, list[int]]:
        """Those that were made for the pipeline of this definition, by their model."""
        found: dict[str, list[int]] = {}
        for sequence, manifest in self.kept().items():
            if manifest.pipeline == pipeline:
                found.setdefault(manifest.name, []).append(sequence)
        return found

    def publish(self, version: Version, about: Manifest) -> Manifest:
        """Keep a version under a new number; the same content under its number again is no change.

        `about` is its manifest up to `kind`. StateError when the number is taken by other content.
        """
        return self.keep(*self._seal.close(about, version))

    def keep(self, manifest: Manifest, weights: bytes) -> Manifest:
        """Keep a sealed version, as `publish` does."""
        known = self._path(manifest.sequence, "json")
        if not known.exists():
            _write(self._path(manifest.sequence, "safetensors"), weights, anew=False)
            try:
                _write(known, msgspec.json.encode(manifest), anew=True)
            except FileExistsError:
                pass  # another writer was faster: judged below like any number in use
            else:
                return manifest
        return self._same(manifest)

    def _same(self, manifest: Manifest) -> Manifest:
        there = self.manifest(manifest.sequence)
        if there.content != manifest.content or there.name != manifest.name:
            raise StateError(
                f"{self._path(manifest.sequence, 'json')}: version {manifest.sequence} is "
                f"{there.name} {there.content}, and a number is never used again for other content "
                f"({manifest.name} {manifest.content}). Another learner wrote here, or this one "
                "started from an older state: go on from the last number in the folder"
            )
        return there

    def manifest(self, sequence: int) -> Manifest:
        """What is known of a version; StateError when missing, damaged or not signed by our key."""
        path = self._path(sequence, "json")
        try:
            manifest = self._seal.manifest(path.read_bytes(), str(path))
        except FileNotFoundError:
            have = self.sequences()
            held = f"{have[0]} to {have[-1]}" if have else "none"
            raise StateError(f"{path}: no such version; the folder has {held}") from None
        if manifest.sequence != sequence:
            raise StateError(f"{path}: is the manifest of version {manifest.sequence}, misplaced")
        return manifest

    def load(self, sequence: int) -> Version:
        """The version, verified; StateError as of `manifest`, or when its weights are not right."""
        where = str(self._path(sequence, "safetensors"))
        return self._seal.version(self.manifest(sequence), self.weights(sequence), where)

    def weights(self, sequence: int) -> bytes:
        """The weights of a version as they lie here; StateError when they do not."""
        path = self._path(sequence, "safetensors")
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise StateError(
                f"{path}: the weights of version {sequence} are no longer kept; its manifest is. "
                "Those of the newest versions are, and of those that a decision has named"
            ) from None

    def decide(self, decision: Decision) -> bool:
        """Keep the next decision, sealed here; False where another has its number already."""
        sealed = msgspec.json.encode(self._seal.sealed(decision))
        path = self._decision(decision.number, "json")
        try:
            _write(path, sealed, anew=True)
        except FileExistsError:
            return path.read_bytes() == sealed
        return True

    def decision(self, number: int) -> Decision | None:
        """The decision of this number, if there is one; StateError when it is not right."""
        path = self._decision(number, "json")
        try:
            return self._seal.opened(path.read_bytes(), DECODER, str(path))
        except FileNotFoundError:
            return None

    def effective(self, number: int) -> int | None:
        """The batch with which a decision began to count; None if it has not."""
        path = self._decision(number, "batch")
        return int(path.read_text()) if path.exists() else None

    def take_effect(self, number: int, batch: int) -> None:
        """Note that a decision counts from this batch on."""
        _write(self._decision(number, "batch"), b"%d" % batch, anew=False)

    def drop(self, sequence: int) -> None:
        """Drop the weights of a version; its manifest stays, so its number is never free again."""
        self._path(sequence, "safetensors").unlink(missing_ok=True)

    def forget(self, sequence: int) -> None:
        """Drop all that is kept of a version: for who only follows a learner."""
        for suffix in ("json", "safetensors"):
            self._path(sequence, suffix).unlink(missing_ok=True)

    def _path(self, sequence: int, suffix: str) -> Path:
        return self._folder / f"{sequence:0{_DIGITS}d}.{suffix}"

    def _decision(self, number: int, suffix: str) -> Path:
        return self._folder / "decisions" / f"{number:0{_DIGITS}d}.{suffix}"


def spare(sequences: Sequence[int], newest: int) -> list[int]:
    """Which versions of one model may go: the newest stay, and of older ones ever fewer.

    From one that stays to the next, age at most doubles; the first stays too. So of n there are
    `newest` and about 2 log2(n) more, and one to go back to is never much older than need be.

    >>> spare(range(1, 13), newest=3)
    [9, 7, 6, 5, 3, 2]
    """
    ordered = sorted(sequences, reverse=True)
    stay, found = ordered[newest - 1 : newest], []
    for number, older in zip(ordered[newest:], ordered[newest + 1 :], strict=False):
        if ordered[0] - older <= 2 * (ordered[0] - stay[-1]):
            found.append(number)
        else:
            stay.append(number)
    return found


def _write(path: Path, raw: bytes, *, anew: bool) -> None:
    """Write a whole file durably; with `anew`, FileExistsError rather than replace one."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    try:
        if anew:
            os.link(part, path)
        else:
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
