"""A version sealed: its tensors as safetensors, and a manifest that says and proves what they are.

A manifest carries a checksum of itself and the content hash of what it describes, and an
HMAC-SHA256 signature when the deployment has a key; a decision (`models.decisions`) likewise.
Folders (`models.registry`) and topics hold the same bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import orjson
from msgspec.json import Decoder
from safetensors import SafetensorError
from safetensors.numpy import load as tensors_from
from safetensors.numpy import save as tensors_to

from models.base import Tensors, Version
from models.ensemble import EnsembleVersion
from models.kinds import SIMPLE
from models.renewed_version import RenewedVersion
from models.shifted import Shifted
from streams.errors import StateError

KINDS: dict[str, type[Version]] = {
    **SIMPLE,
    EnsembleVersion.kind: EnsembleVersion,
    RenewedVersion.kind: RenewedVersion,
    Shifted.kind: Shifted,
}


class Sealed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record that proves to be what was written, by whom has the key."""

    checksum: str = ""
    signature: str = ""


Record = TypeVar("Record", bound=Sealed)


class Manifest(Sealed, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a version is and where it comes from. From `kind` on it is filled in by sealing it."""

    sequence: int
    """Its number; never used again for other content."""
    name: str
    """The model's name in the pipeline."""
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
    major: int = 0
    """The course of learning: one from the prior on, however often it is interrupted."""
    minor: int = 0
    """Versions of that course so far, this one included."""
    positions: dict[str, int] = {}
    """Where what was learnt from ends: the next offset by topic, or rows of the input."""
    parameters: dict[str, str] = {}
    """The model as the pipeline declares it: its class under `model`, and each field."""
    code: str = ""
    """A hash of the program that learnt (`jobs.release`)."""
    response: str = ""
    """The response to an alarm that it came of, in words."""
    kind: str = ""
    content: str = ""
    """BLAKE2b of configuration and tensors: equal hashes score equally."""
    config: dict[str, Any] = {}
    names: tuple[str, ...] = ()
    """The inputs, in order."""

    @property
    def title(self) -> str:
        """Its name for people: major.minor.pipeline, the pipeline's hash cut to eight digits.

        >>> Manifest(sequence=7, name="champion", pipeline="9f3a12cc07", examples=0).title
        '0.7.9f3a12cc'
        """
        minor = self.minor if self.major else self.sequence
        return f"{self.major}.{minor}.{self.pipeline[:8]}"


_decoder = Decoder(Manifest)
_LATER = {"major": 0, "minor": 0, "positions": {}, "parameters": {}, "code": "", "response": ""}
"""Fields that manifests have not always had: where they are empty the checksum is without them."""


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


def _unsigned(record: Sealed) -> bytes:
    """The bytes that checksum and signature are of."""
    fields = msgspec.to_builtins(record)
    return _canonical(
        {
            key: value
            for key, value in fields.items()
            if key not in {"checksum", "signature"} and _LATER.get(key, ...) != value
        }
    )


@dataclass(frozen=True, slots=True)
class Seal:
    """Seals versions and opens them; with a `key` only what that key signed is opened."""

    key: bytes | None = None

    def __repr__(self) -> str:
        return f"Seal({'with a key' if self.key else 'without a key'})"

    def close(self, manifest: Manifest, version: Version) -> tuple[Manifest, bytes]:
        """The manifest completed with what is known of the version, and the version's weights."""
        tensors = version.tensors()
        manifest = msgspec.structs.replace(
            manifest,
            kind=version.kind,
            content=_content(version.kind, version.config(), tensors),
            config=version.config(),
            names=version.names,
            metrics=_finite(manifest.metrics),
        )
        return self.sealed(manifest), tensors_to(_plain(tensors))

    def manifest(self, raw: bytes, where: str) -> Manifest:
        """The manifest of these bytes; StateError when damaged or not signed by our key."""
        return self.opened(raw, _decoder, where)

    def sealed(self, record: Record) -> Record:
        """The record with checksum and signature."""
        raw = _unsigned(record)
        checksum = hashlib.blake2b(raw, digest_size=16).hexdigest()
        return msgspec.structs.replace(record, checksum=checksum, signature=self._sign(raw))

    def opened(self, raw: bytes, decoder: Decoder[Record], where: str) -> Record:
        """The record of these bytes; StateError when damaged or not signed by our key."""
        try:
            record = decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StateError(
                f"{where}: not as it was written ({error}); restore it from a copy"
            ) from error
        unsigned = _unsigned(record)
        if hashlib.blake2b(unsigned, digest_size=16).hexdigest() != record.checksum:
            raise StateError(f"{where}: differs from its checksum; restore it from a copy")
        if self.key and not hmac.compare_digest(self._sign(unsigned), record.signature):
            state = "signed by another key" if record.signature else "not signed"
            raise StateError(
                f"{where}: {state}, and this deployment reads only what its own key signed; "
                "publish it again with the key"
            )
        return record

    def version(self, manifest: Manifest, weights: bytes, where: str) -> Version:
        """The version, verified; StateError when the weights are not those of the manifest."""
        try:
            tensors: dict[str, npt.NDArray[Any]] = tensors_from(weights)
        except (SafetensorError, ValueError, KeyError) as error:
            raise StateError(
                f"{where}: cannot be read ({error}); restore it from a copy"
            ) from error
        if _content(manifest.kind, manifest.config, tensors) != manifest.content:
            raise StateError(f"{where}: not the weights of its manifest; restore it from a copy")
        if manifest.kind not in KINDS:
            raise StateError(
                f"{where}: of kind {manifest.kind!r}; this program knows {', '.join(sorted(KINDS))}"
            )
        return KINDS[manifest.kind].from_parts(manifest.config, tensors)

    def _sign(self, raw: bytes) -> str:
        return hmac.new(self.key, raw, hashlib.sha256).hexdigest() if self.key else ""


def _finite(metrics: Mapping[str, float | None]) -> dict[str, float | None]:
    return {
        name: value if value is not None and math.isfinite(value) else None
        for name, value in metrics.items()
    }


def _plain(tensors: Tensors) -> Tensors:
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
