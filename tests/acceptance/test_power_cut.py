"""A part of `make power-cut`: the gateway on a file system that forgets what was not synced."""

import sys

import required
from gateway import ROOT, binary

sys.path.insert(0, str(ROOT / "tests/power_cut"))

import power_cut  # noqa: E402

CUTS = 16
"""Fewer would prove little; an idle machine does them in 20 seconds."""
SECONDS_MAX = 240


def test_no_power_cut_loses_or_doubles_what_was_acknowledged(tmp_path):
    try:
        total = power_cut.run(binary(), tmp_path, cuts=CUTS, seconds=SECONDS_MAX)
    except power_cut.Unavailable as reason:
        required.cannot_run(f"the file system of the power cuts: {reason}")
    assert not total.wrong, "\n".join(total.wrong)
    assert total.cuts >= CUTS and total.acknowledged > 100 and total.rejected > 10, total
