"""The score job as Faust workers, top to bottom: read, index, windows by entity, score, topics.

    transactions ┬► readers ─► index ─► windows(customer) ─► windows(terminal), score ─► predictions
          labels ┘     │         └► outcomes                                      ▲
                       └► dead-letters                                     models ┘

Every arrow between two operators is a topic of as many partitions as there are lanes. Faust shares
the lanes out among its workers, keeps the table of what they know and brings it to who has a lane
next; agents take the parcels.
"""

from __future__ import annotations

import asyncio
import signal
import ssl
import time
from collections.abc import Awaitable, Iterable
from contextlib import ExitStack, suppress
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import faust
from aiokafka.errors import IllegalStateError
from faust.types import TP

from jobs.config import Settings
from jobs.faust_host.lane import Lane
from jobs.faust_host.outlet import Outlet
from jobs.faust_host.plan import TABLE, Plan
from jobs.faust_host.stages import Serving
from jobs.faust_host.table import RocksCopy
from jobs.faust_host.topics import lanes_of_topics
from jobs.kafka_host.running import log
from jobs.lanes.in_force import VersionInForce
from jobs.lanes.scoring import Scorer
from jobs.load_pipeline import load_pipeline
from jobs.monitoring.monitor import Monitor
from jobs.monitoring.recent import Recent
from jobs.monitoring.serving import Serving as Port
from jobs.topic_records import TopicDecoder
from streams.errors import StateError
from streams.ownership import own
from streams.topics import TOPICS

SESSION_S = 10.0
"""A worker that is silent for so long is dead to the others."""
TICK_S = 0.1
CACHE = 32 << 20
"""Bytes that RocksDB keeps at hand of a lane; what is often asked for, the operators do."""
SEEK_S = 2.0
"""How long Faust's consumer may take to go elsewhere before it is asked again."""
PATIENCE_S = 8.0
"""How long a commit may take while Faust waits to give a lane away."""


class Host:
    """The lanes of one worker."""

    def __init__(self, plan: Plan, serving: Serving, every_s: float) -> None:
        self._plan, self._serving, self._every_s = plan, serving, every_s
        self._outlet = Outlet(plan.settings)
        self._lanes: dict[int, Lane] = {}
        self._reading: list[asyncio.Task[None]] = []
        self._committing: list[asyncio.Task[None]] = []
        self._sought = True
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.app = self._app()

    def _app(self) -> Any:
        plan = self._plan
        app = faust.App(
            plan.app,
            broker=[f"kafka://{each.strip()}" for each in plan.settings.brokers.split(",")],
            broker_credentials=credentials(plan.settings),
            broker_session_timeout=SESSION_S,
            broker_heartbeat_interval=SESSION_S / 5,
            store="rocksdb://",
            datadir=str(plan.settings.state / "faust"),
            consumer_max_fetch_size=16 << 20,
            # Of parcels, up to a megabyte each.
            stream_buffer_maxsize=16,
            # What an agent has not begun when its lane goes is another worker's.
            stream_wait_empty=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            table_standby_replicas=0,
            web_enabled=False,
        )
        self._table = app.Table(
            TABLE,
            key_type=bytes,
            value_type=bytes,
            partitions=plan.lanes,
            options={"driver": "rocksdict", "block_cache_size": CACHE, "write_buffer_size": CACHE},
        )
        for place, topic in enumerate(plan.stages):
            self._agent(app, place, topic)
        app.on_partitions_revoked.connect(self._on_revoked)
        app.on_rebalance_complete.connect(self._on_ready)
        return app

    def _agent(self, app: Any, place: int, topic: str) -> None:
        source = app.topic(
            topic, key_serializer="raw", value_serializer="raw", partitions=self._plan.lanes
        )

        async def take(stream: Any) -> None:
            async for event in stream.noack().events():
                lane = self._lanes.get(event.message.partition)
                # What came for a lane that has gone comes again to who has it.
                if lane is not None and not self.failed.done():
                    try:
                        if not lane.take(place, event):
                            await self._go_back([(place, lane)])
                    except Exception as error:  # noqa: BLE001 - ends the worker
                        self._fail(error)
                await asyncio.sleep(0)

        app.agent(source, name=f"headrace-{place}")(take)

    async def _on_ready(self, *_: Any, **__: Any) -> None:
        """Faust has brought the table up to date: open the lanes that are ours."""
        await self.close(commit=False)
        changelog = self._table.changelog_topic_name
        actives = self.app.assignor.assigned_actives()
        numbers = sorted(each.partition for each in actives if each.topic == changelog)
        try:
            for number in numbers:
                self._lanes[number] = self._open(number)
        except Exception as error:  # noqa: BLE001 - ends the worker
            self._fail(error)
            return
        monitor = self._serving.monitor
        monitor.inputs = [each for lane in self._lanes.values() for each in lane.gauges]
        monitor.done("start")
        monitor.done("lanes")
        for lane in self._lanes.values():
            self._reading.append(self._start(lane.read()))
            self._committing.append(self._start(lane.commits(self._every_s)))
        self._sought = False
        said = ", ".join(map(str, numbers)) or "none"
        plan = self._plan
        log.info("lanes %s of %d partitions, order %s", said, plan.lanes, plan.settings.order)

    def _open(self, number: int) -> Lane:
        copy = RocksCopy(self._table.data, number)
        return Lane(self._plan, number, copy, self._outlet, self._serving)

    async def _go_back(self, places: Iterable[tuple[int, Lane]]) -> None:
        """Have the parcels of some stages come from the one on that their lane has not had.

        The consumer's own thread seeks: its fetches would lose their records to any other.
        """
        stages = self._plan.stages
        at = {TP(stages[place], lane.number): lane.next(place) for place, lane in places}
        # A lane may have gone meanwhile; it is opened again, here or elsewhere.
        with suppress(IllegalStateError):
            await self.app.consumer.seek_wait(at)

    def _start(self, work: Any) -> asyncio.Task[None]:
        async def watched() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - ends the worker
                self._fail(error)

        return asyncio.create_task(watched())

    async def _on_revoked(self, *_: Any, **__: Any) -> None:
        self._serving.monitor.wait("lanes", "the workers share them out anew")
        await self.close(commit=True)

    async def close(self, *, commit: bool) -> None:
        """Let go of all lanes, after a last commit unless something has failed."""
        lanes, self._lanes = self._lanes, {}
        reading, self._reading = self._reading, []
        committing, self._committing = self._committing, []
        for lane in lanes.values():
            lane.ending.set()
        await asyncio.gather(*reading)
        if committing:
            patience = PATIENCE_S if commit and not self.failed.done() else 0.0
            _, late = await asyncio.wait(committing, timeout=patience)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            if late and patience:
                log.info("lanes let go without a commit: it took more than %g s", PATIENCE_S)
        for lane in lanes.values():
            lane.close()

    def _fail(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)

    async def watch(self) -> None:
        """Notice what nobody says: that Faust has ended, or goes on again.

        And that this process stood still for so long that its lanes may be another's. Raises
        StateError when there is no going on.
        """
        at = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            before, at = at, time.monotonic()
            if at - before > SESSION_S:
                raise StateError(
                    f"this worker stood still for {at - before:.0f} s, so others may have its "
                    "lanes; start it again"
                )
            if self.app.crash_reason is not None:
                raise StateError(
                    f"Faust ended: {self.app.crash_reason!r}; start the worker again"
                ) from self.app.crash_reason
            self._outlet.poll()
            self._serving.monitor.turned()
            if not self._sought and not self.app.rebalancing:
                # By itself Faust goes on after what it has acknowledged, and it acknowledges what
                # it leaves out while the group finds together.
                self._sought = True
                every = product(range(len(self._plan.stages)), self._lanes.values())
                try:
                    await asyncio.wait_for(self._go_back(every), SEEK_S)
                except TimeoutError:
                    self._sought = False


async def serve(plan: Plan, serving: Serving, every_s: float) -> None:
    """Work until SIGTERM or Ctrl-C; commit every so many seconds, and at the end.

    Raises what a lane failed of, with nothing committed that may be half done.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    host = Host(plan, serving, every_s)
    app = host.app
    app.finalize()
    app.in_worker = True

    async def started() -> None:
        await app.start()
        await asyncio.Event().wait()

    work: list[Awaitable[Any]] = [stop.wait(), host.watch(), started()]
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        ends: set[asyncio.Future[Any]] = {*tasks, host.failed}
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            each.result()
    finally:
        for task in tasks:
            task.cancel()
        await host.close(commit=stop.is_set())
        await app.stop()


def credentials(settings: Settings) -> Any:
    """How Faust is to log in and whom it is to trust; None where nobody asks."""
    security = settings.security()
    context = None
    if "SSL" in security.protocol:
        context = ssl.create_default_context(cafile=security.ca)
        if security.certificate:
            context.load_cert_chain(security.certificate, security.key)
    if security.user:
        return faust.SASLCredentials(
            username=security.user,
            password=security.password,
            mechanism=security.mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context else None


def run(settings: Settings, lanes: int | None, memory_bytes: int, every_s: float) -> None:
    """A worker, from its settings to its end. Raises ConfigError, InputError and StateError."""
    pipeline, broker = load_pipeline(settings.pipeline), settings.broker()
    broker.partitions([settings.topic(name) for name in TOPICS])
    count = lanes_of_topics(settings, pipeline, lanes)
    # What the first of its kind takes seconds for, while nobody waits for this worker.
    TopicDecoder(pipeline.event, [], [])
    with ExitStack() as stack:
        stack.enter_context(own(settings.state))
        scratch = Path(stack.enter_context(TemporaryDirectory(dir=settings.state)))
        plan = Plan(settings, pipeline, broker, count, memory_bytes, scratch)
        monitor = Monitor("score", pipeline=pipeline.name, definition=pipeline.definition)
        monitor.features = Recent(pipeline.plan().names)
        scorer = Scorer(pipeline, monitor.scored)
        versions = VersionInForce(pipeline, broker, settings, scorer, scratch / "models")
        stack.callback(versions.close)
        if settings.metrics_port:
            port = Port(monitor, settings.metrics_port, settings.metrics_host)
            where = stack.enter_context(port).port
            log.info(
                "http://%s:%d has /metrics, /healthz and /readyz", settings.metrics_host, where
            )
        asyncio.run(serve(plan, Serving(scorer, versions, monitor), every_s))
