"""Random numbers that depend on (seed, purpose, step) and on nothing else."""
import zlib

import numpy as np


def generator(seed: int | np.integer, purpose: str, step: int = 0) -> np.random.Generator:
    """A counter-based generator for one purpose of one seed.

    Seed 17 alone draws what seed 17 draws beside 511 others, and a test set never shares numbers with a training set,
    because every stream is keyed by (seed, purpose, step). Numbers are made on the CPU, so they are the same whatever
    device uses them.

    Raises ValueError for a negative seed or step, or an empty purpose.
    """
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed = {seed!r}: expected an integer >= 0")
    if step < 0:
        raise ValueError(f"step = {step!r}: expected an integer >= 0")
    if not purpose:
        raise ValueError("purpose = '': expected a word such as 'train'")
    key = np.random.SeedSequence([int(seed), zlib.crc32(purpose.encode()), int(step)])
    return np.random.Generator(np.random.Philox(key))
