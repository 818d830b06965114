"""How long something took, by the clock and by the processor."""

import time
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Elapsed:
    """Two durations, of this process with all its threads."""

    seconds: float = 0.0
    """By the clock."""
    processor_seconds: float = 0.0
    """On a processor, which other jobs of the machine disturb little."""

    @classmethod
    def now(cls) -> Self:
        """Return both clocks' readings, from an arbitrary beginning."""
        return cls(time.perf_counter(), time.process_time())

    def __add__(self, other: "Elapsed") -> "Elapsed":
        return Elapsed(self.seconds + other.seconds, self.processor_seconds + other.processor_seconds)

    def __sub__(self, other: "Elapsed") -> "Elapsed":
        return Elapsed(self.seconds - other.seconds, self.processor_seconds - other.processor_seconds)
