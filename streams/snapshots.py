"""Snapshots: named arrays and a small dictionary, committed together or not at all.

Snapshot n is two files. `n.arrays` holds the bytes of what was given; `n.snapshot`, a line with
format and CRC-32 and then JSON, says where each array of the state lies, in this file or in those
of earlier commits, with a CRC-32 each. The rename that gives the second its name is the commit.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from streams.atomic import write_whole
from streams.errors import StateError

FORMAT = 1
_LONGEST_CHAIN = 256
_ANEW = "begin anew with headrace replay --state NEWDIR FILE"
Pieces = npt.NDArray[Any] | Sequence[npt.NDArray[Any]]
"""An array, or what makes it up when laid end to end: one dimension, one dtype, at least one."""
Arrays = Mapping[str, Pieces]


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What was committed."""

    meta: dict[str, Any]
    arrays: dict[str, npt.NDArray[Any]]
    """Each array as it was last given whole."""
    deltas: dict[str, list[npt.NDArray[Any]]]
    """For each of them what was given as delta since, in order; often nothing."""
    damage: tuple[str, ...] = ()
    """What was wrong with newer snapshots, for which this one stands in."""
    pipeline: str = ""
    """The hash of the pipeline that it is of."""


class _Segment(msgspec.Struct, frozen=True, array_like=True):
    """Where the bytes of one array lie."""

    file: int
    start: int
    dtype: str
    shape: tuple[int, ...]
    checksum: int

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


class _Manifest(msgspec.Struct, frozen=True):
    """What `n.snapshot` says; a chain is a whole array and the deltas given since."""

    number: int
    pipeline: str
    meta: msgspec.Raw
    chains: dict[str, list[_Segment]]


class _DamageError(Exception):
    """This snapshot cannot be read; an earlier one may."""


class Snapshots:
    """The snapshots of one pipeline, given by its hash, in a folder that this process owns.

    The last two are kept, so the state survives damage to the newest. After a commit that failed
    every further call raises the same OutputError, and the snapshots before it are still good.
    `advice` says what to do about one that cannot be read.

    >>> snapshots = Snapshots(Path(getfixture("tmp_path")), pipeline="9f3a")
    >>> snapshots.commit({"keys": np.array([7, 8])}, {"batch": 1})
    >>> snapshots.commit({}, {"batch": 2}, deltas={"keys": np.array([9])})
    >>> state = Snapshots(snapshots.folder, pipeline="9f3a").load()
    >>> state.meta, state.arrays["keys"].tolist(), state.deltas["keys"][0].tolist()
    ({'batch': 2}, [7, 8], [9])
    """

    def __init__(
        self, folder: Path, pipeline: str, *, fsync: bool = False, advice: str = _ANEW
    ) -> None:
        self.folder, self._advice = folder, advice
        self._pipeline = pipeline
        self._fsync = fsync
        self._last: _Manifest | None = None
        self._writer = ThreadPoolExecutor(1, "snapshots")
        self._writing: Future[None] | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(
                f"{folder}: wanted a folder for snapshots, got {error.strerror}; "
                "name one that can be written"
            ) from error
        self._number = max(self._numbers(), default=0)
        for path in (*folder.glob("*.tmp"), *folder.glob("*.arrays")):
            if path.suffix == ".tmp" or int(path.stem) > self._number:
                path.unlink()

    @property
    def wants_base(self) -> bool:
        """Whether every array is due whole: the deltas have outgrown those they change."""
        chains = [] if self._last is None else list(self._last.chains.values())
        whole = sum(chain[0].size for chain in chains)
        total = sum(segment.size for chain in chains for segment in chain)
        longest = max(map(len, chains), default=0)
        return self._last is None or total > 2 * whole or longest > _LONGEST_CHAIN

    @property
    def busy(self) -> bool:
        """Whether a commit is being written."""
        return self._writing is not None and not self._writing.done()

    def commit(self, arrays: Arrays, meta: dict[str, Any], deltas: Arrays | None = None) -> None:
        """Commit and wait; see `commit_async`."""
        self.commit_async(arrays, meta, deltas).result()

    def commit_async(
        self, arrays: Arrays, meta: dict[str, Any], deltas: Arrays | None = None
    ) -> Future[None]:
        """Make the state these whole arrays, this JSON-able dictionary, and these deltas.

        A delta is one more segment to an array of the last commit; an array that comes neither
        whole nor as delta is no longer part of the state. Another thread writes, so nothing given
        may change until the future is done. Waits for the commit before. Raises OutputError if
        that one failed; ValueError for a delta to an array that is not there, or a meta with NaN.
        """
        self._settle()
        deltas = deltas or {}
        chains = {} if self._last is None else self._last.chains
        for name in deltas:
            if name not in chains or name in arrays:
                raise ValueError(f"a delta needs an array given whole before, {name!r} is not one")
        for name, pieces in (*arrays.items(), *deltas.items()):
            dtype = _listed(pieces)[0].dtype
            if dtype.hasobject or dtype.names:
                raise ValueError(f"{name!r} must have a plain dtype, got {dtype}")
        said = msgspec.Raw(json.dumps(meta, allow_nan=False).encode())
        self._number += 1
        earlier = {name: chains[name] for name in deltas}
        self._writing = self._writer.submit(
            self._write, self._number, said, dict(arrays), dict(deltas), earlier
        )
        return self._writing

    def load(self, *, foreign: bool = False) -> State | None:
        """Return the newest whole state, or None where nothing was ever committed.

        With `foreign` it may be that of another pipeline; the next commit is then of whole arrays.
        Raises StateError for one of another format or pipeline, and when none is whole.
        """
        self._settle()
        damage: list[str] = []
        for number in sorted(self._numbers(), reverse=True):
            try:
                manifest = self._manifest(number, foreign=foreign)
                read = {
                    name: [self._read(each) for each in chain]
                    for name, chain in manifest.chains.items()
                }
            except _DamageError as error:
                damage.append(str(error))
                continue
            self._last = manifest if manifest.pipeline == self._pipeline else None
            arrays = {name: chain[0] for name, chain in read.items()}
            deltas = {name: chain[1:] for name, chain in read.items()}
            meta = json.loads(bytes(manifest.meta))
            return State(meta, arrays, deltas, tuple(damage), manifest.pipeline)
        if damage:
            raise StateError(f"{'; '.join(damage)}; restore these files, or {self._advice}")
        return None

    def close(self) -> None:
        """Wait for the commit being written; raises OutputError if it failed."""
        self._writer.shutdown()
        self._settle()

    def _settle(self) -> None:
        if self._writing is not None:
            self._writing.result()

    def _numbers(self) -> list[int]:
        return [int(path.stem) for path in self.folder.glob("*.snapshot")]

    def _path(self, number: int, kind: str) -> Path:
        return self.folder / _name(number, kind)

    def _write(
        self,
        number: int,
        meta: msgspec.Raw,
        arrays: Arrays,
        deltas: Arrays,
        earlier: dict[str, list[_Segment]],
    ) -> None:
        given = {**arrays, **deltas}
        segments: dict[str, _Segment] = {}
        pieces = _pieces(number, given, segments)
        write_whole(self._path(number, "arrays"), pieces, fsync=self._fsync)
        chains = {name: [*earlier.get(name, []), segment] for name, segment in segments.items()}
        manifest = _Manifest(number, self._pipeline, meta, chains)
        body = msgspec.json.encode(manifest)
        head = f"headrace snapshot {FORMAT} {zlib.crc32(body, FORMAT):08x}\n".encode()
        write_whole(self._path(number, "snapshot"), [head, body], fsync=self._fsync)
        self._sweep(manifest)
        self._last = manifest

    def _sweep(self, manifest: _Manifest) -> None:
        """Delete all that neither this snapshot nor the last good one needs."""
        kept = [manifest] if self._last is None else [self._last, manifest]
        chains = [chain for each in kept for chain in each.chains.values()]
        files = {part.file for chain in chains for part in chain}
        names = {_name(each.number, "snapshot") for each in kept}
        names |= {_name(number, "arrays") for number in files}
        for path in self.folder.iterdir():
            if path.suffix in {".snapshot", ".arrays"} and path.name not in names:
                path.unlink()

    def _manifest(self, number: int, *, foreign: bool) -> _Manifest:
        path = self._path(number, "snapshot")
        head, _, body = path.read_bytes().partition(b"\n")
        match = re.fullmatch(rb"headrace snapshot (\d{1,9}) ([0-9a-f]{8})", head)
        if match is None or zlib.crc32(body, int(match[1])) != int(match[2], 16):
            raise _DamageError(f"{path}: does not have the checksum it was written with")
        if int(match[1]) != FORMAT:
            raise StateError(
                f"{path}: wanted snapshot format {FORMAT}, found format {int(match[1])}; "
                f"run the release that wrote it, or {self._advice}"
            )
        manifest = msgspec.json.decode(body, type=_Manifest)
        if manifest.pipeline != self._pipeline and not foreign:
            raise StateError(
                f"{path}: wanted the state of pipeline {self._pipeline}, found that of pipeline "
                f"{manifest.pipeline}; run the pipeline file that wrote it, or {self._advice}"
            )
        return manifest

    def _read(self, segment: _Segment) -> npt.NDArray[Any]:
        path = self._path(segment.file, "arrays")
        array = np.empty(segment.shape, segment.dtype)
        room = _bytes(array)
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(segment.start)
                filled = 0
                while filled < len(room) and (count := file.readinto(room[filled:])):
                    filled += count
        except FileNotFoundError:
            raise _DamageError(f"{path}: is missing") from None
        if filled < len(room) or zlib.crc32(room) != segment.checksum:
            raise _DamageError(f"{path}: does not have the checksum it was written with")
        return array


def _name(number: int, kind: str) -> str:
    return f"{number:012d}.{kind}"


def _pieces(number: int, given: Arrays, segments: dict[str, _Segment]) -> Iterator[memoryview]:
    """Yield the bytes of each array, having said in `segments` where they lie."""
    start = 0
    for name, pieces in given.items():
        listed, size, checksum = _listed(pieces), 0, 0
        for piece in map(_bytes, listed):
            checksum = zlib.crc32(piece, checksum)
            size += len(piece)
            yield piece
        dtype = listed[0].dtype
        shape = listed[0].shape if len(listed) == 1 else (size // dtype.itemsize,)
        segments[name] = _Segment(number, start, dtype.str, shape, checksum)
        start += size


def _listed(pieces: Pieces) -> Sequence[npt.NDArray[Any]]:
    return [pieces] if isinstance(pieces, np.ndarray) else pieces


def _bytes(array: npt.NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
