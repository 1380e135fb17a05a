"""The fraud pipeline with a network as its champion, in steps so small that it never rests."""

from dataclasses import replace

from headrace import Neural
from jobs.fraud import pipeline as fraud

pipeline = replace(fraud, name="network", champion=Neural(batch=8, replay=256), challengers={})
