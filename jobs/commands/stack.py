"""`headrace up`, `status`, `down` and `doctor`: real services on this machine, without Docker."""

from __future__ import annotations

import time
from pathlib import Path

import click

FOLDER = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path(".headrace/stack"),
    envvar="HEADRACE_STACK_FOLDER",
    show_default=True,
    show_envvar=True,
    help="Where the services keep what they hold, their settings and their logs.",
)
SERVICES = click.argument(
    "services", nargs=-1, type=click.Choice(["kafka", "redis", "flink"]), metavar="[SERVICE]..."
)
PORT = click.IntRange(1, 65_535)


@click.command()
@SERVICES
@FOLDER
@click.option("--kafka-port", type=PORT, help="By default 9092.")
@click.option("--controller-port", type=PORT, help="Kafka's own second port; by default 9093.")
@click.option("--redis-port", type=PORT, help="By default 6379.")
@click.option("--flink-port", type=PORT, help="Web page and REST interface; by default 8081.")
@click.option("--flink-rpc-port", type=PORT, help="Flink among itself; by default 6123.")
@click.option("--flink-slots", type=click.IntRange(1, 64), help="Tasks at a time; by default 4.")
@click.option(
    "--high-availability/--no-high-availability", default=None,
    help="Let Flink's jobs survive its JobManager, by ZooKeeper.",
)  # fmt: skip
@click.option("--zookeeper-port", type=PORT, help="By default 2181.")
@click.option(
    "--prefix", help="What the topics' names begin with; by default the setting of that name."
)
def up(services: tuple[str, ...], folder: Path, prefix: str | None, **given: object) -> None:
    """Start Kafka and Redis (or the services named: kafka, redis, flink) on this machine.

    They listen on 127.0.0.1 only and stay up until `headrace down`, also when this terminal is
    closed. Kafka gets the project's topics. A service that is up already is left as it is; options
    not given are as when it was last started. The first time, Kafka's jars are fetched, 56 MB.

    \b
    Examples
      headrace up
      headrace up kafka --kafka-port 19092 --controller-port 19093
      headrace up kafka redis flink --high-availability
    """
    from jobs.clients.topics import create_topics
    from jobs.config import Settings
    from jobs.stack.jars import KAFKA_VERSION, jars_folder, missing
    from jobs.stack.kafka import Kafka
    from jobs.stack.services import DEFAULT, asked
    from streams.ownership import own

    names = services or DEFAULT
    prefix = Settings.load(flags={"prefix": prefix}).prefix if "kafka" in names else ""
    with own(folder):
        wanted = [asked(name, folder, _settings(name, given)) for name in names]
        for service in wanted:
            service.startable()
        if "kafka" in names and (absent := len(missing())):
            jars = f"{absent} jars of Apache Kafka {KAFKA_VERSION}"
            click.echo(f"fetching {jars}, once, into {jars_folder()}", err=True)
        for service in wanted:
            begun = time.monotonic()
            started = service.start()
            how = f"up in {time.monotonic() - begun:.1f} s" if started else "already up"
            click.echo(f"{service.name:<6} {how} at {service.address}, log {service.log}")
            if isinstance(service, Kafka):
                made = create_topics(service.bootstrap, prefix)
                click.echo(f"topics made: {', '.join(made)}" if made else "topics are all there")


@click.command()
@FOLDER
def status(folder: Path) -> None:
    """List the services that were started: state, address, process, log.

    \b
    Example
      headrace status
    """
    from jobs.stack.services import known, state

    found = list(known(folder))
    for service in found:
        pids = ", ".join(f"{p.name} {p.pid}" for p in service.processes if p.pid)
        click.echo(f"{service.name:<6} {state(service):<16} {service.address:<24} {pids}")
        for process in service.processes:
            click.echo(f"       log {process.log}")
    if not found:
        click.echo(f"nothing was started in {folder}; `headrace up` does")


@click.command()
@SERVICES
@FOLDER
@click.option("--wipe", is_flag=True, help="Also remove all that they hold.")
def down(services: tuple[str, ...], folder: Path, wipe: bool) -> None:
    """Stop what runs, or the services named; what they hold is there at the next `up`.

    \b
    Examples
      headrace down
      headrace down kafka --wipe
    """
    from jobs.stack.services import known, stop
    from jobs.stack.services import wipe as remove
    from streams.ownership import own

    if not folder.exists():
        click.echo(f"nothing was started in {folder}")
        return
    with own(folder):
        for service in reversed(list(known(folder, services))):
            ran = stop(service)
            if wipe:
                remove(service)
            what = "stopped" if ran else "was down"
            click.echo(f"{service.name:<6} {what}{', its folder removed' if wipe else ''}")


@click.command()
@FOLDER
@click.pass_context
def doctor(context: click.Context, folder: Path) -> None:
    """Say whether this machine can run the services, and what to do where it cannot.

    Exit code 1 if something is wrong; a note is in order unless one wants what it is about.

    \b
    Example
      headrace doctor
    """
    from jobs.stack.doctor import Verdict, findings

    worst = 0
    for finding in findings(folder):
        worst = max(worst, int(finding.verdict is Verdict.WRONG))
        remedy = f": {finding.remedy}" if finding.remedy else ""
        click.echo(f"{finding.verdict:<6} {finding.what:<16} {finding.found}{remedy}")
    context.exit(worst)


def _settings(name: str, given: dict[str, object]) -> dict[str, object]:
    """The options that are a service's, by the names of its settings, without those not given.

    >>> _settings("flink", {"flink_port": 1, "kafka_port": 2, "zookeeper_port": None})
    {'port': 1}
    """
    names = {
        "kafka": {"kafka_port": "port", "controller_port": "controller_port"},
        "redis": {"redis_port": "port"},
        "flink": {
            "flink_port": "port",
            "flink_rpc_port": "rpc_port",
            "flink_slots": "slots",
            "high_availability": "high_availability",
            "zookeeper_port": "zookeeper_port",
        },
    }[name]
    return {names[option]: value for option, value in given.items()
            if option in names and value is not None}  # fmt: skip
