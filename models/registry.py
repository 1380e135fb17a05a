"""Versions at rest: a folder that is only ever added to.

    000000000007.safetensors   the tensors
    000000000007.json          the manifest, written last: a version without one was never published
    000000000007.promoted      empty; its weights are kept for good

Every file is written whole or not at all. A manifest carries a checksum of itself and the content
hash of what it describes, and an HMAC-SHA256 signature when the deployment has a key.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import orjson
from safetensors import SafetensorError
from safetensors.numpy import load as tensors_from
from safetensors.numpy import save as tensors_to

from models.base import Tensors, Version
from models.baselines import PriorVersion, RuleVersion
from models.linear import LinearVersion
from models.river import RiverVersion
from streams.errors import StateError

KINDS: dict[str, type[Version]] = {
    kind.kind: kind for kind in (LinearVersion, PriorVersion, RuleVersion, RiverVersion)
}
_DIGITS = 12


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a version is and where it comes from."""

    sequence: int
    """Its number; never used again for other content."""
    name: str
    """The model's name in the pipeline."""
    kind: str
    content: str
    """BLAKE2b of configuration and tensors: equal hashes score equally."""
    config: dict[str, Any]
    names: tuple[str, ...]
    pipeline: str
    """The hash of the pipeline whose inputs it takes."""
    examples: int
    """How many it learnt from."""
    since_us: int | None = None
    """Event time of the first of them, microseconds UTC; None for none."""
    until_us: int | None = None
    parent: int | None = None
    """The version that learning went on from."""
    metrics: dict[str, float | None] = {}
    """What was known of its quality; None for what could not be computed yet."""
    checksum: str = ""
    signature: str = ""


def content_hash(version: Version) -> str:
    """BLAKE2b over kind, configuration and tensors, 32 hex digits.

    >>> from models.baselines import Prior
    >>> len(content_hash(Prior().bind(("amount",)).version()))
    32
    """
    return _content(version.kind, version.config(), version.tensors())


def _content(kind: str, config: Mapping[str, Any], tensors: Tensors) -> str:
    digest = hashlib.blake2b(_canonical([kind, config]), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(_canonical([name, tensor.dtype.str, list(tensor.shape)]))
        digest.update(np.ascontiguousarray(tensor).data)
    return digest.hexdigest()


def _canonical(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _unsigned(manifest: Manifest) -> bytes:
    """The bytes that checksum and signature are of."""
    fields = msgspec.to_builtins(manifest)
    return _canonical({key: fields[key] for key in fields if key not in ("checksum", "signature")})


class Registry:
    """The versions in a folder; `key` is the deployment's, and with it only what it signed is read.

    One process writes; any number read.
    """

    def __init__(self, folder: Path, key: bytes | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._key = folder, key

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
        tensors = version.tensors()
        manifest = Manifest(
            sequence=sequence,
            name=name,
            kind=version.kind,
            content=_content(version.kind, version.config(), tensors),
            config=version.config(),
            names=version.names,
            pipeline=pipeline,
            examples=examples,
            since_us=since_us,
            until_us=until_us,
            parent=parent,
            metrics=_finite(metrics or {}),
        )
        known = self._path(sequence, "json")
        if not known.exists():
            _write(self._path(sequence, "safetensors"), tensors_to(_plain(tensors)), anew=False)
            try:
                _write(known, msgspec.json.encode(self._sealed(manifest)), anew=True)
            except FileExistsError:
                pass  # another writer was faster: judged below like any number in use
            else:
                return self.manifest(sequence)
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

    def _sealed(self, manifest: Manifest) -> Manifest:
        raw = _unsigned(manifest)
        checksum = hashlib.blake2b(raw, digest_size=16).hexdigest()
        return msgspec.structs.replace(manifest, checksum=checksum, signature=self._sign(raw))

    def _sign(self, raw: bytes) -> str:
        return hmac.new(self._key, raw, hashlib.sha256).hexdigest() if self._key else ""

    def manifest(self, sequence: int) -> Manifest:
        """What is known of a version; StateError when missing, damaged or not signed by our key."""
        path = self._path(sequence, "json")
        try:
            manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
        except FileNotFoundError:
            have = self.sequences()
            held = f"{have[0]} to {have[-1]}" if have else "none"
            raise StateError(f"{path}: no such version; the folder has {held}") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StateError(f"{path}: not a manifest ({error}); restore it from a copy") from error
        raw = _unsigned(manifest)
        if hashlib.blake2b(raw, digest_size=16).hexdigest() != manifest.checksum:
            raise StateError(f"{path}: differs from its checksum; restore it from a copy")
        if self._key and not hmac.compare_digest(self._sign(raw), manifest.signature):
            state = "signed by another key" if manifest.signature else "not signed"
            raise StateError(
                f"{path}: {state}, and this deployment reads only what its own key signed; "
                "publish it again with the key"
            )
        if manifest.sequence != sequence:
            raise StateError(f"{path}: is the manifest of version {manifest.sequence}, misplaced")
        return manifest

    def load(self, sequence: int) -> Version:
        """The version, verified; StateError as of `manifest`, or when its weights are not right."""
        manifest = self.manifest(sequence)
        path = self._path(sequence, "safetensors")
        try:
            tensors: dict[str, npt.NDArray[Any]] = tensors_from(path.read_bytes())
        except FileNotFoundError:
            raise StateError(
                f"{path}: the weights of version {sequence} are no longer kept; its manifest is. "
                "Keep more versions, or promote those that must stay"
            ) from None
        except (SafetensorError, ValueError, KeyError) as error:
            raise StateError(f"{path}: cannot be read ({error}); restore it from a copy") from error
        if _content(manifest.kind, manifest.config, tensors) != manifest.content:
            raise StateError(f"{path}: not the weights of its manifest; restore it from a copy")
        if manifest.kind not in KINDS:
            raise StateError(
                f"{path}: of kind {manifest.kind!r}; this program knows {', '.join(sorted(KINDS))}"
            )
        return KINDS[manifest.kind].from_parts(manifest.config, tensors)

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

    def _path(self, sequence: int, suffix: str) -> Path:
        return self._folder / f"{sequence:0{_DIGITS}d}.{suffix}"


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def _plain(tensors: Tensors) -> Tensors:
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}


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
