"""Which records of a topic are wanted, as the command line says it: `decision=review`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_CLAUSE = re.compile(r"\s*([\w.-]+)\s*(>=|<=|!=|=|>|<)\s*(.*)")


@dataclass(frozen=True, slots=True)
class Clause:
    """A field compared with a value: numbers as numbers, all else as text.

    A record without the field meets only `!=`. A list meets `=` if one of its entries does.

    >>> Clause.parse("score>=0.5").meets({"score": 0.71})
    True
    >>> Clause.parse("reasons=amount").meets({"reasons": ["weekend", "amount"]})
    True
    """

    field: str
    sign: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Clause:
        """Read a clause; ValueError where it is none."""
        match = _CLAUSE.fullmatch(text)
        if match is None:
            signs = " ".join(_OPERATORS)
            raise ValueError(f"wanted FIELD, one of {signs}, and a value; got {text!r}")
        return cls(*match.groups())

    def meets(self, fields: Mapping[str, Any]) -> bool:
        """Whether the record is wanted."""
        found = fields.get(self.field)
        if isinstance(found, list) and self.sign in ("=", "!="):
            return (self.value in map(str, found)) == (self.sign == "=")
        if found is None:
            return self.sign == "!="
        if isinstance(found, (int, float)) and not isinstance(found, bool):
            try:
                return _OPERATORS[self.sign](found, float(self.value))
            except ValueError:
                return self.sign == "!="
        text = str(found).lower() if isinstance(found, bool) else str(found)
        return _OPERATORS[self.sign](text, self.value)
