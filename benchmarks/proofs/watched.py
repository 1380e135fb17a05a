"""A watch that tells all it is told: every bucket is an alarm with a digest of what was in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from jobs.fraud import pipeline as fraud
from operators.drift.alarm import Finding
from operators.drift.bucket import Bucket, Scope
from operators.drift.watch import Watch


@dataclass(frozen=True, slots=True)
class All:
    """Tells of every bucket that is not empty."""

    def bind(self, scope: Scope) -> Told:
        """One that has seen nothing."""
        return Told()


class Told:
    """What `All` declares. It chains its digests, so that no bucket may have been another."""

    def __init__(self) -> None:
        self._last = b""

    def close(self, bucket: Bucket) -> Sequence[Finding]:
        """Tell what was in the bucket, and by the digest in what came before it."""
        sketches = bucket.features, bucket.scores
        arrays = [array for each in sketches for array in (each.counts, each.missing)]
        for told in (bucket.matured, bucket.late):
            arrays += [getattr(told, field.name) for field in fields(told)]
        content = b"".join(array.tobytes() for array in arrays)
        span = np.array([bucket.start_us, bucket.end_us, bucket.version]).tobytes()
        self._last = hashlib.blake2b(self._last + span + content, digest_size=8).digest()
        if not bucket.events and not len(bucket.matured):
            return []
        return [
            Finding(
                kind="volume",
                detector=self._last.hex(),
                since_us=bucket.start_us,
                size=float(bucket.events),
                threshold=0.0,
                evidence={"matured": float(len(bucket.matured))},
            )
        ]

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """The last digest."""
        return {"last": np.frombuffer(self._last, np.uint8)}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from there."""
        self._last = state["last"].tobytes()


ALL = Watch(least=3, monitors=(All(),))
"""A watch of small buckets that are all told."""
pipeline = replace(fraud, watch=Watch(least=50, monitors=(*Watch().monitors, All())))
"""The shipped one, of which all is told as well."""
