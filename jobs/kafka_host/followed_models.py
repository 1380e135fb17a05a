"""The topic `models` followed by a thread of its own, so that whoever scores only looks."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from threading import Event as Flag
from threading import Thread

from jobs.config import Settings
from jobs.kafka_host.model_feed import ModelFeed
from jobs.kafka_host.positions import only
from models.manifest import Seal
from models.registry import Registry
from streams.broker import Broker
from streams.topics import MODELS

WAIT_S = 0.1


class FollowedModels:
    """The versions of a pipeline, by its definition and its features' names, kept in `folder`.

    `feed` reads them; nobody else may, once they are followed.
    """

    def __init__(
        self,
        broker: Broker,
        settings: Settings,
        definition: str,
        names: tuple[str, ...],
        folder: Path,
    ) -> None:
        self.registry = Registry(folder, settings.key)
        self.consumer = broker.consumer([only(broker, settings.topic(MODELS))])
        with ExitStack() as stack:
            stack.callback(self.consumer.close)
            self.feed = ModelFeed(
                self.consumer, self.registry, Seal(settings.key), definition, names
            )
            stack.pop_all()
        self._failed: Exception | None = None
        self._stop = Flag()
        self._thread = Thread(target=self._run, name="models", daemon=True)

    def follow(self) -> None:
        """Have the thread read on, from the first call; raises what made it fail."""
        if self._failed:
            raise self._failed
        if self._thread.ident is None:
            self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self.feed.poll(WAIT_S)
        except Exception as error:  # noqa: BLE001 - the job's own thread raises it
            self._failed = error

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self.feed.close()
