"""The state of a flow as one atomic unit: key records, labels, models, metrics, position."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jobs.pipeline import Flow
from models.registry import Registry
from operators.keyrecords import clock, pack_all, pack_changed, set_clock, unpack
from streams.snapshots import Snapshots, State

KEPT_VERSIONS = 8
Arrays = dict[str, npt.NDArray[Any]]


class FlowState:
    """Snapshots of a flow in `folder`, with what the host adds: small values and byte strings.

    Beside the folder, `models` keeps the last of the champion's versions, each with its manifest.
    """

    def __init__(self, flow: Flow, folder: Path) -> None:
        self._flow = flow
        self._snapshots = Snapshots(folder, flow.pipeline.definition)
        self._registry = Registry(folder.parent / "models")

    @property
    def busy(self) -> bool:
        """Whether a snapshot is being written."""
        return self._snapshots.busy

    def commit(self, meta: dict[str, Any], blobs: dict[str, bytes], *, wait: bool = False) -> None:
        """Take a snapshot; another thread writes it. Records that did not change are not copied.

        Raises OutputError if this one (with `wait`) or the one before could not be written.
        """
        flow = self._flow
        whole = self._snapshots.wants_base
        index = flow.index.state()
        arrays: Arrays = {f"blob/{name}": np.frombuffer(b, np.uint8) for name, b in blobs.items()}
        arrays |= {f"lineup/{name}": values for name, values in flow.lineup.state().items()}
        arrays |= {f"evaluation/{name}": v for name, v in flow.evaluation.state().items()}
        arrays |= {f"index/{n}": v for n, v in index.items() if isinstance(v, np.ndarray)}
        arrays["counts"] = flow.counts.copy()
        deltas: Arrays = {}
        for entity in flow.features.entities:
            pack = pack_all if whole else pack_changed
            records = pack(entity.arena, entity.plan.shape)
            (arrays if whole else deltas)[f"records/{entity.plan.key}"] = records
        meta = meta | {
            "index": {n: v for n, v in index.items() if not isinstance(v, np.ndarray)},
            "clocks": {e.plan.key: clock(e.arena) for e in flow.features.entities},
        }
        self._publish()
        done = self._snapshots.commit_async(arrays, meta, deltas)
        if wait:
            done.result()

    def _publish(self) -> None:
        """Keep the champion's version at rest, and the few before it."""
        lineup = self._flow.lineup
        self._registry.publish(
            lineup.champion,
            sequence=lineup.sequence,
            name="champion",
            pipeline=self._flow.pipeline.definition,
            examples=lineup.learnt // lineup.every * lineup.every,
            until_us=self._flow.index.clock_us if lineup.learnt else None,
        )
        self._registry.retain(KEPT_VERSIONS)

    def restore(self) -> tuple[dict[str, Any], dict[str, bytes]] | None:
        """Bring the flow to the newest snapshot; the host's values, or None if there is none.

        Raises StateError for a snapshot of another pipeline or format, or a damaged one.
        """
        state = self._snapshots.load()
        if state is None:
            return None
        flow, arrays = self._flow, state.arrays
        index = _under(arrays, "index/")
        flow.ids.reserve(int(state.meta["index"]["next_row"]))
        flow.log.reserve(int(state.meta["index"]["next_row"]))
        flow.index.restore(state.meta["index"] | index)
        flow.lineup.load(_under(arrays, "lineup/"))
        flow.evaluation.load(_under(arrays, "evaluation/"))
        flow.counts[:] = arrays["counts"]
        self._restore_records(state)
        return state.meta, {name: v.tobytes() for name, v in _under(arrays, "blob/").items()}

    def _restore_records(self, state: State) -> None:
        for entity in self._flow.features.entities:
            name = f"records/{entity.plan.key}"
            for packed in (state.arrays[name], *state.deltas.get(name, ())):
                unpack(entity.arena, entity.plan.shape, np.ascontiguousarray(packed))
            set_clock(entity.arena, int(state.meta["clocks"][entity.plan.key]))

    def close(self) -> None:
        """Wait for the snapshot being written; raises OutputError if it failed."""
        self._snapshots.close()


def _under(arrays: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): v for name, v in arrays.items() if name.startswith(prefix)}
