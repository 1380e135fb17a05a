"""A key's record in words: its events, what is known of each, and which of them a feature reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from operators import ring
from operators.arena import AT, CAPACITY, find
from operators.features import Feature
from operators.featurize import EntityWindows
from operators.keyrecords import PREFIX, pack
from streams.schema import duration_us


@dataclass(frozen=True, slots=True)
class Held:
    """An event in a key's record, or a pane: neighbours that were merged into one."""

    time: int
    """Microseconds UTC; of a pane, of its last event."""
    ident: int | None
    """Low word of the id; None of a pane."""
    events: int
    values: dict[str, int | None]
    """By field: units of 10**-scale, or ident low words; sums in a pane; None is missing."""
    label: bool | None
    """None where there is none so far."""
    known: int | None
    """When the label became known."""
    positives: int = 0
    """Of a pane: how many of its events are labelled positive."""

    def label_at(self, now: int) -> bool | None:
        """The label as it was known at `now`."""
        return self.label if self.known is not None and self.known <= now else None


@dataclass(frozen=True, slots=True)
class Record:
    """What one entity keeps of one key."""

    held: list[Held]
    """Oldest first, by (time, id); without those that nothing can see any more."""
    allocated: int
    """Bytes it takes in memory."""
    packed: int
    """Bytes it takes in a snapshot."""
    forgotten_us: int
    """From this event time on nothing can see it."""

    @property
    def panes(self) -> int:
        """How many entries stand for several events: more than none once the cap was reached."""
        return sum(each.ident is None for each in self.held)


@dataclass(frozen=True, slots=True)
class Span:
    """A window, (after, until] in microseconds UTC."""

    after: int
    until: int

    def of(self, held: Sequence[Held]) -> list[Held]:
        """The events inside it."""
        return [each for each in held if self.after < each.time <= self.until]


def slot_of(entity: EntityWindows, key: tuple[int, int]) -> int:
    """The slot of a key in an entity's arena, or -1."""
    arena = entity.arena
    slot = int(find(arena.index, arena.slots, *key))
    return slot if slot >= 0 and arena.slots[slot, AT] >= 0 else -1


def record_of(entity: EntityWindows, key: tuple[int, int]) -> Record | None:
    """The record of a key (its ident), or None where nothing is kept of it."""
    slot = slot_of(entity, key)
    if slot < 0:
        return None
    arena, shape = entity.arena, entity.plan.shape
    packed = pack(arena, shape, slot)
    start = PREFIX + int(shape[ring.HEAD]) - 2
    entries = packed[start:].reshape(-1, int(shape[ring.STRIDE]))
    at = int(arena.slots[slot, AT])
    capacity = int(arena.classes[arena.words[at] & 0xFF, CAPACITY])
    newest = int(entries[-1, ring.TIME])
    entries = entries[entries[:, ring.TIME] > newest - shape[ring.RETENTION]]
    return Record(
        [_held(entity, words) for words in entries.tolist()],
        allocated=entity.plan.header_bytes + capacity * entity.plan.event_bytes,
        packed=packed.nbytes,
        forgotten_us=newest + int(shape[ring.RETENTION]),
    )


def _held(entity: EntityWindows, words: list[int]) -> Held:
    pane = words[ring.ID] < 0
    word = words[ring.LABEL_WORD] if entity.plan.shape[ring.LABELLED] else ring.UNLABELLED
    status, rest = word & 3, word >> 2
    told = status in {ring.NEGATIVE, ring.POSITIVE}
    names = entity.plan.field_names
    values = words[len(words) - len(names) :]
    return Held(
        time=words[ring.TIME],
        ident=None if pane else words[ring.ID],
        events=-words[ring.ID] if pane else 1,
        values={
            name: None if held == ring.MISSING else held
            for name, held in zip(names, values, strict=True)
        },
        label=status == ring.POSITIVE if told else None,
        known=rest if told else None,
        positives=rest if status == ring.PANE else 0,
    )


def span_of(feature: Feature, now: int) -> Span:
    """The window that a feature of an event at `now` reads; from the furthest event it looks at."""
    return Span(now - feature.horizon_us, now - duration_us(feature.delay))
