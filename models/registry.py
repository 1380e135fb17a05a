"""Versions at rest: a folder that is only ever added to.

    000000000007.safetensors   the tensors
    000000000007.json          the manifest, written last: a version without one was never published
    000000000007.promoted      empty; its weights are kept for good

Every file is written whole or not at all. A manifest carries a checksum of itself and the content
hash of what it describes, and an HMAC-SHA256 signature when the deployment has a key.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from models.base import Version
from models.manifest import Manifest, Seal
from streams.errors import StateError

_DIGITS = 12


class Registry:
    """The versions in a folder; `key` is the deployment's, and with it only what it signed is read.

    One process writes; any number read.
    """

    def __init__(self, folder: Path, key: bytes | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._seal = folder, Seal(key)

    def sequences(self) -> list[int]:
        """Every number in use, ascending."""
        return sorted(int(path.stem) for path in self._folder.glob("[0-9]*.json"))

    def publish(
        self,
        version: Version,
        *,
        sequence: int,
        name: str,
        pipeline: str,
        examples: int,
        since_us: int | None = None,
        until_us: int | None = None,
        parent: int | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> Manifest:
        """Keep a version under a new number; the same content under its number again is no change.

        StateError when the number is taken by other content.
        """
        about = Manifest(
            sequence=sequence,
            name=name,
            pipeline=pipeline,
            examples=examples,
            since_us=since_us,
            until_us=until_us,
            parent=parent,
            metrics=dict(metrics or {}),
        )
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
                "Keep more versions, or promote those that must stay"
            ) from None

    def promote(self, sequence: int) -> None:
        """Keep this version's weights whatever `retain` says."""
        self.manifest(sequence)
        _write(self._path(sequence, "promoted"), b"", anew=False)

    def retain(self, newest: int) -> list[int]:
        """Drop the weights of all but the newest and the promoted; return whose were dropped.

        Manifests stay, so a number is never free again.
        """
        dropped = []
        for sequence in self.sequences()[: -newest or None]:
            weights = self._path(sequence, "safetensors")
            if weights.exists() and not self._path(sequence, "promoted").exists():
                weights.unlink()
                dropped.append(sequence)
        return dropped

    def forget(self, before: int) -> None:
        """Drop all that is kept of versions below this number: for who only follows a learner."""
        for path in self._folder.iterdir():
            number = path.name.partition(".")[0]
            if number.isdecimal() and int(number) < before:
                path.unlink()

    def _path(self, sequence: int, suffix: str) -> Path:
        return self._folder / f"{sequence:0{_DIGITS}d}.{suffix}"


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
