"""The Mersenne Twister inside kernels, drawing samples as Python's `random.Random(seed)` does.

Matsumoto and Nishimura, *Mersenne Twister* (1998), with their initialisation by an array. A
generator lies in 625 words: how many of its numbers are used up, then the numbers.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from streams.jit import kernel

Int64s = npt.NDArray[np.int64]
NUMBERS, MIDDLE = 624, 397
STATE, WORDS = NUMBERS + 1, 2 * NUMBERS + 1
_ALL = 0xFFFFFFFF


def seeded(seed: int) -> Int64s:
    """The first `STATE` words of `random.Random(seed)`; the others may be anything."""
    key: list[int] = []
    rest = abs(seed)
    while rest or not key:
        key.append(rest & _ALL)
        rest >>= 32
    word = [19650218]
    for i in range(1, NUMBERS):
        word.append((1812433253 * (word[-1] ^ word[-1] >> 30) + i) & _ALL)
    i, j = 1, 0

    def before(i: int) -> int:
        return word[i - 1] ^ word[i - 1] >> 30

    for _ in range(max(NUMBERS, len(key))):
        word[i] = ((word[i] ^ before(i) * 1664525) + key[j] + j) & _ALL
        i, j = i + 1, (j + 1) % len(key)
        if i == NUMBERS:
            word[0], i = word[-1], 1
    for _ in range(NUMBERS - 1):
        word[i] = ((word[i] ^ before(i) * 1566083941) - i) & _ALL
        i += 1
        if i == NUMBERS:
            word[0], i = word[-1], 1
    word[0] = 1 << 31
    return np.array([NUMBERS, *word], np.int64)


@kernel()
def _twist(own: int, after: int, other: int) -> int:
    word = own & 0x80000000 | after & 0x7FFFFFFF
    return other ^ word >> 1 ^ (word & 1) * 0x9908B0DF


@kernel()
def _renew(words: Int64s, at: int) -> None:
    """Make the next numbers of the generator, and from them those that are handed out."""
    old, new = words[at + 1 : at + STATE], words[at + STATE : at + WORDS]
    split = NUMBERS - MIDDLE
    for i in range(split):
        old[i] = _twist(old[i], old[i + 1], old[i + MIDDLE])
    for i in range(split, NUMBERS - 1):
        old[i] = _twist(old[i], old[i + 1], old[i - split])
    old[NUMBERS - 1] = _twist(old[NUMBERS - 1], old[0], old[MIDDLE - 1])
    for i in range(NUMBERS):
        word = old[i]
        word ^= word >> 11
        word ^= word << 7 & 0x9D2C5680
        word ^= word << 15 & 0xEFC60000
        new[i] = word ^ word >> 18


@kernel()
def bits(words: Int64s, at: int, count: int) -> int:
    """The next number of so many bits, 1 to 32, of the generator that begins at a place."""
    used = words[at]
    if used == NUMBERS:
        _renew(words, at)
        used = 0
    words[at] = used + 1
    return int(words[at + STATE + used] >> (32 - count))


@kernel()
def _under(words: Int64s, at: int, limit: int, length: int) -> int:
    """The next number from 0 to below the limit, which has so many bits."""
    while True:
        number = bits(words, at, length)
        if number < limit:
            return int(number)


def set_limit(k: int) -> int:
    """From how large a population on Python takes a sample of k by refusing repetitions."""
    return 21 + (4 ** math.ceil(math.log(k * 3, 4)) if k > 5 else 0)


@kernel()
def sample(words: Int64s, at: int, n: int, limit: int, drawn: Int64s, pool: Int64s) -> None:
    """Draw len(drawn) of the numbers below n; `pool` has room for n, `limit` is `set_limit`."""
    length = 0
    while n >> length:
        length += 1
    if n > limit:
        pool[:n] = 0
        for i in range(len(drawn)):
            j = _under(words, at, n, length)
            while pool[j]:
                j = _under(words, at, n, length)
            pool[j] = 1
            drawn[i] = j
        return
    for i in range(n):
        pool[i] = i
    # Without branches within a length: what is refused cannot be foreseen.
    left, used, new = n, words[at], words[at + STATE : at + WORDS]
    while left > n - len(drawn):
        while not left >> (length - 1):
            length -= 1
        fewest = max(n - len(drawn), (1 << (length - 1)) - 1)
        while left > fewest:
            if used == NUMBERS:
                _renew(words, at)
                used = 0
            j = new[used] >> (32 - length)
            used += 1
            drawn[n - left] = j
            left -= int(j < left)
    words[at] = used
    for i in range(len(drawn)):
        place = np.uint64(drawn[i])
        drawn[i], pool[place] = pool[place], pool[n - 1 - i]
