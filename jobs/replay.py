"""Files through a pipeline, start to end, with a way to stop in between."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from jobs.interrupt import interruptible
from jobs.local import SNAPSHOT_SECONDS, LocalRun
from jobs.meter import Meter
from jobs.progress import Progress
from jobs.settings import Inputs
from jobs.summary import write_summary
from streams.errors import InputError, OutputError

UNLABELLED = (
    "warning: these files hold no labels of their own, so every event will count as negative; if "
    "labels lie beside the events, name their column with --columns and say --label-delay"
)


@dataclass(frozen=True, slots=True)
class Done:
    """How a replay ended."""

    rows: int
    """Of the input, all runs of it together."""
    interrupted: bool
    resumed: bool


def replay(
    inputs: Inputs, out: Path, *, resume: bool, snapshot_seconds: float = SNAPSHOT_SECONDS
) -> Done:
    """Carry the files through the pipeline and write everything a run leaves into `out`.

    With `resume` a replay that the state folder holds is gone on with. Ctrl-C ends it after the
    batch in hand with everything committed; a second one ends it at once, at the last snapshot.
    An input that cannot be read to its end is an InputError, what came before it committed.
    """
    pipeline = inputs.load_pipeline()
    inputs = inputs.going_on() if resume else inputs
    source = inputs.source(pipeline)
    try:
        out.mkdir(parents=True, exist_ok=True)
        run = LocalRun(
            pipeline,
            source,
            out,
            state=Path(inputs.state),
            order=inputs.order,
            resume=resume,
            snapshot_seconds=snapshot_seconds,
        )
        inputs.save(Path(inputs.state))
        inputs.save(out)
        if not inputs.has_labels:
            click.echo(UNLABELLED, err=True)
        if run.said:
            click.echo(run.said, err=True)
        resumed = run.resumed
        meter = Meter()
        try:
            with interruptible() as interrupt, Progress("replay") as progress:
                for step in run:
                    meter.take(step)
                    progress.show(step.taken, source.done)
                    if interrupt.asked:
                        run.close()
                        return Done(step.taken, interrupted=True, resumed=resumed)
        except InputError:
            run.close()
            raise
        run.finish()
        write_summary(run, meter, title=f"Replay of {', '.join(inputs.files)}")
    except OSError as error:
        place = error.filename or out
        raise OutputError(
            f"{place}: {error.strerror}; make room or name another folder, then run again"
        ) from error
    return Done(sum(run.taken.values()), interrupted=False, resumed=resumed)
