"""Versions and decisions as a deployment's topic holds them."""

from __future__ import annotations

import msgspec

from jobs.kafka_host.model_feed import DECISION, MANIFEST
from models.base import Version
from models.decisions import Decision
from models.manifest import Manifest, Seal
from tests.deployment import Deployment

Published = dict[int, tuple[Manifest, Version]]


def published(deployment: Deployment) -> Published:
    """Every version that was published, those too whose weights have been dropped since.

    Never two under one number.
    """
    found: Published = {}
    chunks: dict[str, list[bytes]] = {}
    for run in deployment.runs("models"):
        for key, value in zip(run.keys, run.values, strict=True):
            number, _, part = (key or b"").decode().partition("/")
            if value and part == MANIFEST:
                manifest = msgspec.json.decode(value, type=Manifest)
                version = Seal().version(manifest, b"".join(chunks.pop(number)), number)
                there = found.setdefault(int(number), (manifest, version))
                assert there[0].content == manifest.content
            elif value and number.isdecimal():
                chunks.setdefault(number, []).append(value)
    return found


def decided(deployment: Deployment) -> list[Decision]:
    """The decisions in the order in which they were taken."""
    return [
        msgspec.json.decode(value or b"", type=Decision)
        for run in deployment.runs("models")
        for key, value in zip(run.keys, run.values, strict=True)
        if (key or b"").startswith(DECISION.encode())
    ]
