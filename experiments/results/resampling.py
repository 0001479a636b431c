"""The flags of programs that resample, for intervals and tests."""

from experiments.results import statistics
from specjax._flags import Flag, at_least

RESAMPLING = {
    "seed": Flag("integer", 0, "Seed of the random resampling.", at_least(0, 2**32 - 1)),
    "resamples": Flag(
        "integer",
        statistics.RESAMPLES,
        "Number of resamples: of images for an interval, of signs for a test.",
        at_least(100, 10**6),
    ),
}
