"""`headrace dead-letters`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from jobs.commands.configured import configured

if TYPE_CHECKING:
    from jobs.clients.dead_letters import Letter
    from jobs.config import Settings

REASON = click.option("--reason", help="Only those of this reason, such as 'not JSON'.")


@click.group("dead-letters")
def dead_letters() -> None:
    """See what could not be read, and send it again once the cause is mended.

    A dead letter goes by the place of its record: topic/partition/offset.

    \b
    Examples
      headrace dead-letters list --reason 'bad time'
      headrace dead-letters show transactions/0/17
      headrace dead-letters replay --reason 'out of range'
    """


@dead_letters.command("list")
@REASON
@click.option(
    "--count", type=click.IntRange(1), default=50, show_default=True,
    help="At most so many, the newest.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="As lines of JSON.")
@configured()
def listed(settings: Settings, reason: str | None, count: int, as_json: bool) -> None:
    """List the newest dead letters, and how many there are by reason.

    \b
    Example
      headrace dead-letters list --count 10
    """
    from jobs.clients.dead_letters import find
    from jobs.clients.dead_letters_view import as_line, table
    from streams.topics import DEAD_LETTERS

    found = find(settings.broker(), settings.topic(DEAD_LETTERS))
    wanted = [each for each in found if reason in (None, each.reason)]
    if as_json:
        for letter in wanted[-count:]:
            click.echo(as_line(letter))
    else:
        from rich.console import Console

        Console().print(*table(wanted, count), no_wrap=True)


@dead_letters.command()
@click.argument("place")
@configured()
def show(settings: Settings, place: str) -> None:
    """Show one: why it could not be read, its key, headers and bytes.

    \b
    Example
      headrace dead-letters show transactions/0/17
    """
    from jobs.clients.dead_letters import bytes_of, find, originals
    from jobs.clients.dead_letters_view import page
    from streams.topics import DEAD_LETTERS

    broker, topic = settings.broker(), settings.topic(DEAD_LETTERS)
    letter = _named([place], find(broker, topic), settings)[0]
    _, original = next(iter(originals(broker, [letter])))
    for line in page(letter, original, bytes_of(broker, topic, letter)):
        click.echo(line)


@dead_letters.command()
@click.argument("places", nargs=-1)
@REASON
@click.option("--again", is_flag=True, help="Those too that were sent again before.")
@configured()
def replay(settings: Settings, places: tuple[str, ...], reason: str | None, again: bool) -> None:
    """Send the records at PLACES, or all, to their topics again: same bytes, key and headers.

    For when the cause is mended: what can be read now gets its prediction. Each is sent once; what
    was sent before is left alone, whatever became of it, unless with --again. An id that conflicts
    is sent only if it is named, by its place or as the reason.

    \b
    Examples
      headrace dead-letters replay
      headrace dead-letters replay transactions/0/17 --again
    """
    from jobs.clients.dead_letters import find
    from jobs.clients.dead_letters import replay as send
    from jobs.status_line import StatusLine
    from streams.errors import Reason
    from streams.topics import DEAD_LETTERS, LABELS, TRANSACTIONS

    broker, topic = settings.broker(), settings.topic(DEAD_LETTERS)
    found = find(broker, topic)
    chosen = _named(places, found, settings) if places else found
    inputs = {settings.topic(TRANSACTIONS), settings.topic(LABELS)}
    named = bool(places or reason)
    wanted = [
        each
        for each in chosen
        if each.place.topic in inputs
        and reason in (None, each.reason)
        and (named or each.reason != Reason.CONFLICTING_ID)
    ]
    with StatusLine() as line:
        done = send(
            broker,
            topic,
            wanted,
            again=again,
            watch=lambda sent: line.say(lambda: f"{sent:,} of {len(wanted):,} sent again"),
        )
    click.echo(
        f"sent {done.sent:,} again, left {done.before:,} alone that had been, "
        f"{done.gone:,} are no longer held whole"
    )


def _named(places: Sequence[str], found: Sequence[Letter], settings: Settings) -> list[Letter]:
    """The letters at these places, whose topics may lack the prefix; InputError if one is not."""
    from jobs.clients.dead_letters import Place
    from streams.errors import InputError

    by_place = {letter.place: letter for letter in found}
    named = []
    for text in places:
        place = Place.parse(text)
        full = place._replace(topic=settings.topic(place.topic))
        letter = by_place.get(place) or by_place.get(full)
        if letter is None:
            raise InputError(f"{place}: no such dead letter; `headrace dead-letters list` has them")
        named.append(letter)
    return named
