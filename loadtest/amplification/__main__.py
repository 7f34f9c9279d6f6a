"""`python loadtest/amplification --help`"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[2] / "tests/acceptance")]

from amplification.command import main  # noqa: E402

sys.exit(main())
