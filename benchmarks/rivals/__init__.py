"""The 15 Handbook inputs made by others. Each file has the same three functions.

`sample(transactions)`: how many of them it is timed on. `prepare(transactions)`: what it works on,
made before the clock starts. `features(prepared)`: (n, 15), in the order of `INPUTS`.
"""

WINDOWS = (1, 7, 30)
DELAY = 7
INPUTS = (
    *("amount", "weekend", "night"),
    *(f"customer_count_{days}d" for days in WINDOWS),
    *(f"customer_mean_{days}d" for days in WINDOWS),
    *(f"terminal_count_{days}d" for days in WINDOWS),
    *(f"terminal_risk_{days}d" for days in WINDOWS),
)
