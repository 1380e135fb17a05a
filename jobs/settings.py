"""What a replay was asked, as `run.json` keeps it for the commands that come back to the run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

import msgspec

from jobs.definition import Pipeline
from jobs.load_pipeline import SHIPPED, load_pipeline
from streams.atomic import write_whole
from streams.errors import ConfigError, InputError
from streams.schema import duration_us
from streams.simulation.traffic import moment_us
from streams.sources import FileSource

NAME = "run.json"
MIXED = (".ndjson", ".jsonl")
"""Files that may hold labels as records of their own."""
Order = Literal["arrival", "strict"]


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs of a run. Paths are absolute, durations and times as they were written."""

    files: tuple[str, ...]
    columns: dict[str, str]
    label_delay: str | None
    pipeline: str
    """A file, or the name of a shipped pipeline."""
    until: str | None
    order: Order
    batch_size: int
    state: str
    received_us: int
    """When the run began; events dated far after it are refused."""

    @classmethod
    def asked(
        cls,
        files: Sequence[Path],
        *,
        columns: Mapping[str, str],
        label_delay: str | None,
        pipeline: str,
        until: str | None,
        order: Order,
        batch_size: int,
        state: Path,
    ) -> Self:
        """What is asked here and now."""
        return cls(
            files=tuple(str(file.absolute()) for file in files),
            columns=dict(columns),
            label_delay=label_delay,
            pipeline=pipeline if pipeline in SHIPPED else str(Path(pipeline).absolute()),
            until=until,
            order=order,
            batch_size=batch_size,
            state=str(state.absolute()),
            received_us=time.time_ns() // 1000,
        )

    @property
    def has_labels(self) -> bool:
        """Whether labels can come: beside the events, or as records of their own in NDJSON."""
        mixed = any(Path(file).suffix.lower() in MIXED for file in self.files)
        return self.label_delay is not None or mixed

    def load_pipeline(self) -> Pipeline:
        """The pipeline, as its file is now."""
        return load_pipeline(self.pipeline)

    def source(self, pipeline: Pipeline, label_delay: str | None = None) -> FileSource:
        """The files from their beginning; labels beside events come `label_delay` late."""
        delay = label_delay or self.label_delay
        return FileSource(
            [Path(file) for file in self.files],
            pipeline.event,
            self.columns,
            batch_size=self.batch_size,
            label_delay_us=None if delay is None else duration_us(delay),
            until_us=None if self.until is None else moment_us(self.until),
            received_us=self.received_us,
        )

    def save(self, folder: Path) -> None:
        """Write `run.json` into the folder."""
        write_whole(folder / NAME, [msgspec.json.format(msgspec.json.encode(self)) + b"\n"])

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What `save` wrote there. Raises InputError where no run is."""
        path = folder / NAME
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except OSError:
            raise InputError(
                f"{folder}: wanted a folder that `headrace replay` wrote, got one without {NAME}; "
                "name the --out of a replay"
            ) from None
        except msgspec.DecodeError as error:
            raise InputError(f"{path}: cannot be read: {error}; run the replay again") from None

    def going_on(self) -> Inputs:
        """These inputs as of the run that the state folder holds, if it holds one.

        Raises ConfigError if that run was asked something else.
        """
        if not (Path(self.state) / NAME).exists():
            return self
        before = self.load(Path(self.state))
        for name in ("files", "columns", "label_delay", "pipeline", "until", "order", "batch_size"):
            asked, begun = getattr(self, name), getattr(before, name)
            if asked != begun:
                raise ConfigError(
                    f"{self.state}: this replay was begun with {name.replace('_', ' ')} "
                    f"{_shown(begun)}, asked is {_shown(asked)}: ask the same or name a new folder"
                )
        return msgspec.structs.replace(self, received_us=before.received_us)


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (tuple, dict)) else str(value)
