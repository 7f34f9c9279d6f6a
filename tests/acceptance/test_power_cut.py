"""A minute of `make power-cut`: the gateway on a file system that forgets what was not synced."""

import sys

import required
from gateway import ROOT, binary

sys.path.insert(0, str(ROOT / "tests/power_cut"))

import power_cut  # noqa: E402

SECONDS = 45
CUTS_MIN = 10
"""Fewer in this time would prove little; an idle machine does 40."""


def test_no_power_cut_loses_or_doubles_what_was_acknowledged(tmp_path):
    try:
        total = power_cut.run(binary(), tmp_path, cuts=1_000, seconds=SECONDS)
    except power_cut.Unavailable as reason:
        required.cannot_run(f"the file system of the power cuts: {reason}")
    assert not total.wrong, "\n".join(total.wrong)
    assert total.cuts >= CUTS_MIN and total.acknowledged > 100 and total.rejected > 10, total
