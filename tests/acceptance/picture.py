"""docs/running.svg: a picture of a run, drawn from the commands and outputs of README.md, which are tested.

`python tests/acceptance/picture.py` writes it again; test_docs.py compares.
"""

from html import escape

from gateway import ROOT
from pages import blocks

PICTURE = ROOT / "docs/running.svg"
# The steps that are shown, each known by what its first command begins with.
STEPS = ("curl", "until", "make -s venv")
COLUMNS, LINE_PX, CHARACTER_PX, MARGIN_PX = 126, 17, 7.3, 16
# SVG draws several spaces as one.
NO_BREAK = "\u00a0"
COLOURS = {"command": "#9ecbff", "output": "#e1e4e8"}


def lines() -> list[tuple[str, str]]:
    """What the terminal shows, line by line, each with what it is."""
    shown = []
    for start in STEPS:
        block = next(block for block in blocks(ROOT / "README.md") if block.kind == "sh" and block.body.startswith(start))
        shown += [("command", f"$ {line}" if number == 0 else f"  {line}") for number, line in enumerate(block.body.splitlines())]
        shown += [("output", line) for line in block.output.splitlines()] + [("output", "")]
    return [(kind, line if len(line) <= COLUMNS else line[: COLUMNS - 1] + "…") for kind, line in shown[:-1]]


def draw() -> str:
    shown = lines()
    width, height = round(COLUMNS * CHARACTER_PX + 2 * MARGIN_PX), len(shown) * LINE_PX + 2 * MARGIN_PX
    rows = [
        f'<text x="{MARGIN_PX}" y="{MARGIN_PX + LINE_PX * number + 12}" fill="{COLOURS[kind]}">{escape(line).replace(" ", NO_BREAK)}</text>'
        for number, (kind, line) in enumerate(shown) if line
    ]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">',
        "<title>A run: one event is sent, accepted, and found in the lake</title>",
        '<rect width="100%" height="100%" rx="8" fill="#24292e"/>',
        '<g font-family="ui-monospace, Menlo, Consolas, monospace" font-size="12">',
        *rows, "</g>", "</svg>", "",
    ])


if __name__ == "__main__":
    PICTURE.write_text(draw())
