"""Every shape of load for some seconds: all thresholds hold, and the books of k6, the gateway, the lake and the stream agree."""

import sys

import pytest
from gateway import ROOT

sys.path.insert(0, str(ROOT / "loadtest/k6"))

from run import SHAPES, Options, run  # noqa: E402

SECONDS = 3
# A build without optimisation, on a machine that does other things.
LATENCY_FACTOR = 20
# Such a build, beside other tests, does not take ten times a million events an hour; ten times this, it does.
RATES = {"spike": 30}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_outcome_of_a_short_load_is_right(shape):
    report = run(Options(shape, SECONDS, rate=RATES.get(shape), latency_factor=LATENCY_FACTOR, smoke=True))
    print(report.markdown())
    assert report.passed, report.failures
