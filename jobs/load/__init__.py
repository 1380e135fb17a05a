"""The load generator: sends on a schedule, and says how long each prediction was in coming.

Open loop: when an event is to be sent is known beforehand and never depends on what came back. A
latency runs from that intended moment to the one at which a subscriber holds the prediction, so a
stall is paid for by every event that it delays.
"""
