"""The commands: their options and what they say of themselves.

A command imports its work in its body, so that `--help` is instant.
"""

from __future__ import annotations

from typing import Any

import click

from jobs.commands.bench import bench
from jobs.commands.dead_letters import dead_letters
from jobs.commands.demo import demo
from jobs.commands.evaluate import evaluate
from jobs.commands.faust import faust
from jobs.commands.features import features
from jobs.commands.flink import flink
from jobs.commands.inspect import check, state, why
from jobs.commands.ledger import ledger
from jobs.commands.models import models
from jobs.commands.pipelines import describe, init
from jobs.commands.publish import publish
from jobs.commands.replay import replay
from jobs.commands.run import learn, run
from jobs.commands.score import score
from jobs.commands.simulate import simulate
from jobs.commands.stack import doctor, down, status, up
from jobs.commands.subscribe import subscribe
from jobs.commands.topics import topics
from jobs.commands.travel import export, import_
from jobs.commands.watch import watch
from streams.errors import HeadraceError

INTERRUPTED = 130


class Headrace(click.Group):
    """Makes one line of every error raised on purpose; lists commands as they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (HeadraceError, MemoryError) as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)


@click.group(cls=Headrace, context_settings={"max_content_width": 100})
@click.version_option(package_name="headrace")
def headrace() -> None:
    """Real-time features and online learning on streams.

    Events come in, exact features are made of them, a model scores each, and it learns when the
    labels come, days later.

    \b
    Begin with
      headrace demo                                 simulated card traffic, watched live
      headrace simulate --days 60 --out t.parquet   the same as a file
      headrace replay t.parquet --columns fraud=fraud --label-delay 7d --out run
      headrace init shop                            a pipeline of your own

    \b
    On Kafka
      headrace up                                   a broker on this machine, with the topics
      headrace run --learn                          score what comes, and learn
      headrace publish --simulate --with-labels     traffic for it
      headrace subscribe predictions                what is predicted
      headrace watch                                how the jobs are doing
    """


for command in (
    demo, replay, evaluate, why, state, check, simulate, score, describe, init, run, learn, publish,
    subscribe, dead_letters, ledger,
    models, watch, features, flink, faust, bench, up, status, down, doctor, topics,
):  # fmt: skip
    headrace.add_command(command)
for command in (export, import_):
    state.add_command(command)
