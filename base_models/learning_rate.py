"""Learning rates over the steps of a training, as shares of their peak."""

import math

START = 0.04
"""Share of the peak that a training begins with."""


def one_cycle(step: int, n_steps: int, warm_up: float) -> float:
    """Return the learning rate of a step as a share of its peak (Smith & Topin, arXiv:1708.07120).

    It rises by half a cosine from 1/25 over the first `warm_up` of the steps, then falls by another to 0.
    """
    rising = max(1.0, warm_up * n_steps)
    if step < rising:
        return START + (1 - START) * (1 - math.cos(math.pi * step / rising)) / 2
    return _falling(step, rising, n_steps)


def cosine(step: int, n_steps: int, warm_up: float) -> float:
    """Return the learning rate of a step as a share of its peak (Loshchilov & Hutter, arXiv:1608.03983).

    It rises along a line from 1/25 over the first `warm_up` of the steps, at most a tenth of them, then
    falls by half a cosine to 0.
    """
    rising = max(1.0, min(warm_up, 0.1) * n_steps)
    if step < rising:
        return START + (1 - START) * step / rising
    return _falling(step, rising, n_steps)


def constant(step: int, n_steps: int, warm_up: float) -> float:
    """Return the learning rate of a step as a share of its peak: as `cosine`, but it does not fall."""
    rising = max(1.0, min(warm_up, 0.1) * n_steps)
    return min(1.0, START + (1 - START) * step / rising)


def _falling(step: int, rising: float, n_steps: int) -> float:
    return (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1.0, n_steps - rising)))) / 2


SCHEDULES = {"one_cycle": one_cycle, "cosine": cosine, "constant": constant}
