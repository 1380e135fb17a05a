"""`headrace flink`: the score job and the learn job on a Flink cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from jobs.commands.configured import configured
from jobs.commands.stack import FOLDER

if TYPE_CHECKING:
    from jobs.config import Settings
    from jobs.flink_host.cluster import FlinkCluster
    from jobs.stack.flink import Flink

ADDRESS = click.option(
    "--flink", "address", envvar="HEADRACE_FLINK_URL", show_envvar=True, metavar="URL",
    help="The cluster's REST interface. By default that of `headrace up flink`.",
)  # fmt: skip
JOB = click.argument("job", default="headrace", metavar="[JOB]")
TARGET = click.option("--to", "target", metavar="URI", help="By default the cluster's own folder.")
SECONDS = click.option(
    "--timeout", type=float, default=600.0, show_default=True, metavar="SECONDS",
    help="How long to wait for the savepoint.",
)  # fmt: skip
STARTED_S, RESTORED_S = 120.0, 600.0
"""How long the tasks of a job may take to be at work; with a savepoint they read it first."""


@click.group()
def flink() -> None:
    """Run on Flink: the same operators, scoring on as many machines as it takes.

    \b
    Examples
      headrace up kafka flink
      headrace flink submit --parallelism 2
      headrace flink submit learn
      headrace flink list
      headrace flink stop                 prints the savepoint it ends with
      headrace flink submit --savepoint .headrace/stack/flink/savepoints/savepoint-…
    """


@flink.command()
@click.argument("role", type=click.Choice(["score", "learn"]), default="score", metavar="[JOB]")
@ADDRESS
@FOLDER
@click.option(
    "--name", help="What Flink calls the job: by default headrace, the learn job headrace-learn.",
)  # fmt: skip
@click.option(
    "--parallelism", type=click.IntRange(1, 32_768), default=1, show_default=True,
    help="Tasks of each operator. One learns.",
)  # fmt: skip
@click.option(
    "--lanes", type=click.IntRange(1, 32_768), default=16, show_default=True,
    help="The most tasks that the job can ever be rescaled to; fixed for the life of its state.",
)  # fmt: skip
@click.option("--savepoint", default="", metavar="URI", help="Go on from this savepoint.")
@click.option(
    "--from", "source", type=click.Path(path_type=Path), metavar="DIR",
    help="Go on from what `headrace state export --out DIR` wrote; the whole cluster reads it.",
)  # fmt: skip
@click.option(
    "--warm-up", is_flag=True,
    help="With the savepoint of a pipeline with other features: go on also where the new ones "
    "cannot be exact from the next event on.",
)  # fmt: skip
@click.option(
    "--memory", "memory_mb", type=click.IntRange(1), default=512, show_default=True, metavar="MB",
    help="Of key records that a task keeps at hand; the rest it reads from its state.",
)  # fmt: skip
@click.option(
    "--checkpoint", "checkpoint_ms", type=click.IntRange(10), metavar="MS",
    help="Between checkpoints: 30000, or with exactly-once the setting commit_ms.",
)  # fmt: skip
@click.option(
    "--changelog", is_flag=True,
    help="Write changes of the state out as they are made, so that checkpoints stop nothing.",
)  # fmt: skip
@configured("group", "pipeline", "order", "delivery", "commit_ms", "linger_ms")
def submit(
    settings: Settings,
    *,
    role: Literal["score", "learn"],
    address: str | None,
    folder: Path,
    name: str | None,
    parallelism: int,
    lanes: int,
    savepoint: str,
    source: Path | None,
    warm_up: bool,
    memory_mb: int,
    checkpoint_ms: int | None,
    changelog: bool,
) -> None:
    """Start a job on the cluster: score, unless JOB is learn.

    The score job takes transactions and labels from their topics and hands on to predictions,
    outcomes and dead-letters what `headrace run` would. The learn job takes outcomes and
    predictions and hands on to models and examples what `headrace learn` would, which works beside
    the score job too: one of the two learns.

    \b
    Examples
      headrace flink submit
      headrace flink submit learn
      headrace flink submit --parallelism 4 --delivery exactly-once --commit-ms 200
      headrace flink submit --pipeline new.py --savepoint file:/…/savepoint-811685-…
      headrace flink submit --pipeline shop.py --name shop --prefix shop.
      headrace flink submit --from moving     from what `headrace state export` wrote
    """
    from jobs.flink_host.order import FlinkOrder
    from jobs.flink_host.submit import submit as hand_over
    from jobs.load_pipeline import load_pipeline
    from streams.errors import ConfigError, ServiceError, StateError
    from streams.topics import TOPICS

    if role == "learn":
        if parallelism > 1:
            raise ConfigError(f"--parallelism: wanted 1, since one learns, got {parallelism}")
        lanes = 1
    if parallelism > lanes:
        raise ConfigError(f"--parallelism: wanted at most --lanes, {lanes}, got {parallelism}")
    if source and role == "learn":
        raise ConfigError("--from: wanted it for the score job only; `headrace learn` stays")
    if source and savepoint:
        raise ConfigError("--from: wanted this or --savepoint, got both: a job has one state")
    pipeline = load_pipeline(settings.pipeline)
    # A missing topic, a wrong password and a broker that is away are said here, not in Flink's log.
    settings.broker().partitions([settings.topic(name) for name in TOPICS])
    cluster = cluster_of(address, folder)
    name = name or {"score": "headrace", "learn": "headrace-learn"}[role]
    if there := cluster.running(name):
        raise StateError(
            f"{cluster.address}: job {there.id} has the name {name} and is {there.state}; stop it "
            f"with `headrace flink stop {name}`, or choose another --name"
        )
    exactly_once = settings.delivery == "exactly-once"
    every = checkpoint_ms or (settings.commit_ms if exactly_once else FlinkOrder().checkpoint_ms)
    brought, patience = "", RESTORED_S if savepoint else STARTED_S
    if source:
        from jobs.flink_host.moving import OPENED_S, share_out

        brought, patience = str(share_out(source, settings, pipeline, lanes)), OPENED_S
    order = FlinkOrder(
        role=role, name=name, parallelism=parallelism, lanes=lanes, memory_mb=memory_mb,
        checkpoint_ms=every, savepoint=savepoint, brought=brought, warm_up=warm_up,
        changelog=_beside_checkpoints(cluster) if changelog else "",
    )  # fmt: skip
    job = hand_over(order, settings, cluster.address, local(folder).client())
    try:
        cluster.started(job, patience)
    except ServiceError:
        cluster.cancel(job)
        raise
    click.echo(f"job {job} RUNNING, {cluster.address}/#/job/running/{job}")


@flink.command("list")
@ADDRESS
@FOLDER
def list_(address: str | None, folder: Path) -> None:
    """The jobs of the cluster, the newest first."""
    from streams.timestamps import time_text

    cluster = cluster_of(address, folder)
    jobs = cluster.jobs()
    for job in jobs:
        click.echo(f"{job.id}  {job.state:<10} {time_text(job.started_ms * 1000)}  {job.name}")
    if not jobs:
        click.echo("no jobs; start one with `headrace flink submit`", err=True)


@flink.command()
@JOB
@ADDRESS
@FOLDER
@TARGET
@SECONDS
def savepoint(
    job: str, *, address: str | None, folder: Path, target: str | None, timeout: float
) -> None:
    """Write the job's state to a folder, and print where; the job goes on. JOB: its name or id."""
    cluster = cluster_of(address, folder)
    click.echo(cluster.savepoint(cluster.job(job).id, target, timeout))


@flink.command()
@JOB
@ADDRESS
@FOLDER
@TARGET
@SECONDS
def stop(
    job: str, *, address: str | None, folder: Path, target: str | None, timeout: float
) -> None:
    """End the job with a savepoint, and print where that is. JOB: its name or id."""
    cluster = cluster_of(address, folder)
    click.echo(cluster.stop(cluster.job(job).id, target, timeout))


@flink.command()
@JOB
@ADDRESS
@FOLDER
def cancel(job: str, address: str | None, folder: Path) -> None:
    """End the job without a savepoint; its last checkpoint is kept. JOB: its name or id."""
    cluster = cluster_of(address, folder)
    found = cluster.job(job)
    cluster.cancel(found.id)
    click.echo(f"job {found.id} {cluster.wait(found.id, ('CANCELED', 'FAILED'), 60)}")


@flink.command("package")
@click.argument("target", type=click.Path(path_type=Path), default="headrace-flink.tar.gz")
@click.option(
    "--extra", "extras", multiple=True, metavar="NAME",
    help="Pack the libraries of this extra too: river, for a pipeline that scores with it. "
    "May be given more than once.",
)  # fmt: skip
@configured("pipeline")
def package_(settings: Settings, target: Path, extras: tuple[str, ...]) -> None:
    """Pack all that a cluster without internet needs: code, Python, libraries, Flink, Java, jars.

    TARGET is an archive if it ends in .tar, .tar.gz or .tgz, else a folder. It holds what is
    installed here, so it is for machines of this system and processor family. manifest.json says
    what is in it, SHA256SUMS is for sha256sum.

    \b
    Examples
      headrace flink package
      headrace flink package /opt/headrace --pipeline shop.py --extra river

    \b
    On every machine of the cluster, at the same path
      tar -xf headrace-flink.tar.gz -C /opt && cd /opt/headrace-flink
      sha256sum --quiet --check SHA256SUMS
      vi conf/config.yaml                      where the JobManager is, where state is kept
      bin/run jobmanager.sh start-foreground   on one of them
      bin/run taskmanager.sh start-foreground  on the others

    \b
    From any of them
      bin/headrace flink submit --flink http://jobmanager:8081 --brokers kafka:9092
    """
    from jobs.flink_host.package import package

    made = package(target, extras, settings.pipeline, lambda line: click.echo(line, err=True))
    click.echo(
        f"{target}: release {made.release}, {made.files:,} files, {made.bytes / 1e6:,.0f} MB"
    )


def cluster_of(address: str | None, folder: Path) -> FlinkCluster:
    """The cluster at this address, or that of the stack in the folder."""
    from jobs.flink_host.cluster import FlinkCluster

    return FlinkCluster(address or local(folder).address)


def _beside_checkpoints(cluster: FlinkCluster) -> str:
    """A folder for changes of state, beside the cluster's checkpoints."""
    from streams.errors import ConfigError

    name = "execution.checkpointing.dir"
    folder = cluster.setting(name)
    if folder is None:
        raise ConfigError(
            f"{cluster.address}: --changelog wanted the cluster's setting {name}, got none; start "
            "its JobManager with one that the whole cluster can write to"
        )
    return f"{folder.rstrip('/')}/changelog"


def local(folder: Path) -> Flink:
    """The cluster of the stack in this folder, as it was last started."""
    from jobs.stack.flink import Flink

    return Flink.at(folder / "flink") or Flink(folder / "flink")
