"""The customer's last payments as inputs, and a network that attends to them."""

from __future__ import annotations

from jobs.fraud import customer
from models.neural import Attention, Neural
from operators.features import Feature

LAST = 8
history: dict[str, Feature] = {
    name: feature
    for n in range(1, LAST + 1)
    for name, feature in (
        (f"since_{n}", customer.since_last("90d", n)),
        (f"amount_{n}", customer.lag("amount", "90d", n)),
        (f"same_terminal_{n}", customer.same("terminal", "90d", n)),
    )
}
"""Of each of the customer's last payments: days since then, amount, whether at this terminal."""
names = tuple(history)
attentive = Neural(attention=Attention(tokens=[names[3 * n : 3 * n + 3] for n in range(LAST)]))
