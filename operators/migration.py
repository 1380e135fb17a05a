"""Key records that another plan wrote, made what this plan would have them be.

The events of a record are what it is made of; heads of windows and running integers follow from
them. So a record is read by the layout it was written in, its events are laid out anew, and the
rest is counted again, as though the new features had been there from the beginning. Where the
old record lacks what that takes, it is said, and nothing is made up.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from operators.keyrecords import PREFIX
from operators.plan import EntityPlan
from operators.ring import (
    BOUNDS,
    CAP,
    EVER,
    HEAD,
    HEADER,
    ID,
    LABEL_WORD,
    LABELLED,
    LAYOUT,
    RETENTION,
    STRIDE,
    recount,
)
from streams.errors import StateError
from streams.jit import kernel
from streams.schema import duration_text
from streams.timestamps import time_text

Int64s = npt.NDArray[np.int64]
BEGINNING = -(2**62)
"""Before any event."""
NEWEST, CAPPED, CAPPED_UNTIL, CUT, CUT_UNTIL = range(5)
"""What `convert` finds: the newest event; records with panes and the newest event in one; records
with more events than the new cap and the newest event left out."""


class RecordLayout(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to read the packed records of an entity; state holds it beside them."""

    key: str
    ring: int
    """`operators.ring.LAYOUT` of who wrote them."""
    head: int
    labelled: bool
    fields: tuple[str, ...]
    ages: tuple[int, ...]
    retention_us: int
    since_us: int = BEGINNING
    """Every event later than this is there, if it has not expired."""

    @classmethod
    def of(cls, plan: EntityPlan, since_us: int = BEGINNING) -> RecordLayout:
        """That of the records of a plan."""
        shape = plan.shape
        return cls(
            key=plan.key,
            ring=LAYOUT,
            head=int(shape[HEAD]),
            labelled=bool(shape[LABELLED]),
            fields=plan.field_names,
            ages=tuple(plan.ages.tolist()),
            retention_us=int(shape[RETENTION]),
            since_us=since_us,
        )

    @classmethod
    def of_none(cls, key: str) -> RecordLayout:
        """That of an entity of which nothing was kept."""
        return cls(
            key=key, ring=LAYOUT, head=HEADER, labelled=False, fields=(), ages=(), retention_us=0
        )

    @property
    def stride(self) -> int:
        """Words an event."""
        return 2 + self.labelled + len(self.fields)


@kernel("int64(int64[::1], int64, int64)")
def size_of(packed: Int64s, head: int, stride: int) -> int:
    """How many events there are in packed records, and in the upper bits how many records."""
    source = 0
    found = 0
    while source < len(packed):
        found += (1 << 32) + packed[source + 2]
        source += PREFIX + head - 2 + packed[source + 2] * stride
    return found


@kernel(
    "int64(int64[::1], int64, int64, int64[::1], int64, int64[::1], int64[::1], int64[:, ::1],"
    " int64[::1], int64[::1], int64[::1])"
)
def convert(
    packed: Int64s,
    head: int,
    stride: int,
    sources: Int64s,
    span: int,
    shape: Int64s,
    ages: Int64s,
    accs: Int64s,
    acc_from: Int64s,
    out: Int64s,
    found: Int64s,
) -> int:
    """Write packed records as the plan has them to `out`; returns where they end.

    `head` and `stride` are those of `packed`; `sources` says which of its words each word of an
    event is; events `span` older than a record's newest have expired.
    """
    source = 0
    to = 0
    while source < len(packed):
        count = packed[source + 2]
        entries = source + PREFIX + head - 2
        end = entries + count * stride
        newest = packed[end - stride]
        found[NEWEST] = max(found[NEWEST], newest)
        first = 0
        while packed[entries + first * stride] <= newest - span:
            first += 1
        if count - first > shape[CAP]:
            first = count - shape[CAP]
            found[CUT] += 1
            found[CUT_UNTIL] = max(found[CUT_UNTIL], packed[entries + (first - 1) * stride])
        kept = count - first
        # A packed record lies as in an arena, but for its first two words: the second, where the
        # ring begins, is that of the count, and 0 until all is counted.
        base = to + PREFIX - 2
        ring = base + shape[HEAD]
        out[to] = packed[source]
        out[to + 1] = packed[source + 1]
        out[base + 1 : ring] = 0
        if shape[LABELLED]:
            out[base + 2] = packed[source + PREFIX]
        panes = 0
        for i in range(kept):
            entry = entries + (first + i) * stride
            for w in range(shape[STRIDE]):
                out[ring + i * shape[STRIDE] + w] = packed[entry + sources[w]]
            if packed[entry + ID] < 0:
                panes = 1
                found[CAPPED_UNTIL] = max(found[CAPPED_UNTIL], packed[entry])
        found[CAPPED] += panes
        for b in range(shape[BOUNDS]):
            past = 0
            while past < kept and out[ring + past * shape[STRIDE]] <= newest - ages[b]:
                past += 1
            out[base + HEADER + b] = past << 32
        recount(out, base + HEADER, out, shape, accs, acc_from, base, kept, 0, EVER)
        out[base + 1] = kept
        to = ring + kept * shape[STRIDE]
        source = end
    return to


class Migration:
    """Records of one entity on their way from an old layout to a plan's.

        migration = Migration(layout, plan)
        records = [migration.carry(packed) for packed in state]
        layout, said = migration.finish(clock_us, warm_up=False)

    Raises StateError for records of a release that had another meaning for their words.
    """

    def __init__(self, old: RecordLayout, plan: EntityPlan) -> None:
        if old.ring != LAYOUT:
            raise StateError(
                f"key records of {old.key!r}: wanted words as of layout {LAYOUT}, found "
                f"{old.ring}; run the release that wrote them"
            )
        self._old, self._plan, self._new = old, plan, RecordLayout.of(plan)
        self._unkept = [repr(name) for name in self._new.fields if name not in old.fields]
        if self._new.labelled and not old.labelled:
            self._unkept.append("labels")
        if not old.ages:
            self._unkept = ["any event"]
        self._found = np.array([BEGINNING, 0, BEGINNING, 0, BEGINNING], np.int64)

    def carry(self, packed: Int64s) -> Int64s:
        """The records as the plan has them; none where they lack a word that it needs."""
        old, plan = self._old, self._plan
        new = self._new
        size = size_of(packed, old.head, old.stride)
        room = (size >> 32) * (PREFIX + new.head - 2) + (size & 0xFFFFFFFF) * new.stride
        out = np.empty(room, np.int64)
        end = convert(
            packed, old.head, old.stride, self._sources(), min(old.retention_us, new.retention_us),
            plan.shape, plan.ages, plan.accs, plan.acc_from, out, self._found,
        )  # fmt: skip
        return out[: 0 if self._unkept else end]

    def _sources(self) -> Int64s:
        """Which word of an old event each word of a new one is; one that is not there is its id."""
        old, new = self._old, self._new
        label = [LABEL_WORD if old.labelled else ID] if new.labelled else []
        place = {name: 2 + old.labelled + at for at, name in enumerate(old.fields)}
        return np.array([0, ID, *label, *(place.get(name, ID) for name in new.fields)], np.int64)

    def finish(self, now_us: int, *, warm_up: bool) -> tuple[RecordLayout, list[str]]:
        """The layout of what was carried, and what is to be said of it.

        `now_us` is the latest time of any event, as far as known. Raises StateError where features
        would not be from the next event on what they would always have been, unless `warm_up`.
        """
        old, new, found = self._old, self._new, self._found.tolist()
        now = max(now_us, found[NEWEST])
        reasons: list[str] = []
        since = old.since_us
        if now <= 0:
            pass  # nothing has happened that could be missing
        elif self._unkept:
            reasons.append(f"they do not hold {', '.join(self._unkept)}, so all begin anew")
            since = now
        elif new.retention_us > old.retention_us:
            back, wanted = duration_text(old.retention_us), duration_text(new.retention_us)
            reasons.append(f"they reach back {back}, {wanted} are wanted")
            since = max(since, now - old.retention_us)
        elif since > now - new.retention_us:
            reasons.append(f"they are still warming up, whole only since {time_text(since)}")
        if found[CAPPED] and not self._unkept and not {*new.ages} <= {*old.ages}:
            reasons.append(f"{found[CAPPED]:,} keys over the cap have events merged by old windows")
            since = max(since, found[CAPPED_UNTIL])
        if found[CUT] and not self._unkept:
            reasons.append(
                f"{found[CUT]:,} hold more than the new cap of {self._plan.shape[CAP]} events"
            )
            since = max(since, found[CUT_UNTIL])
        said = [f"key records of {old.key!r}: {reason}" for reason in reasons]
        if reasons and not warm_up:
            raise StateError(
                f"{'; '.join(said)}. Give --warm-up to go on all the same: features begin short "
                f"and are exact from {time_text(since + new.retention_us)} on"
            )
        if reasons:
            said.append(f"they are exact from {time_text(since + new.retention_us)} on")
        return RecordLayout.of(self._plan, since), said
