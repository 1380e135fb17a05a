"""Random numbers inside kernels: a sequence that is a word, kept with whatever draws from it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.jit import kernel


@kernel()
def uniform(words: npt.NDArray[np.int64], place: int) -> float:
    """The next number inside (0, 1) of the sequence at a place of `words`, which is never 0.

    Marsaglia, *Xorshift RNGs*, 2003.
    """
    word = np.uint64(words[place])
    word ^= word << np.uint64(13)
    word ^= word >> np.uint64(7)
    word ^= word << np.uint64(17)
    words[place] = np.int64(word)
    return float((np.float64(word >> np.uint64(11)) + 0.5) * 2.0**-53)
