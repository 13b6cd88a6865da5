"""The frame of a self-contained page: styles, library, data and a few elements, all escaped.

Every text that came from a file is escaped, and JSON inside a page cannot close its script element.
"""

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

_HERE = Path(__file__).parent


def document(title: str, body: str, figures: Mapping[str, Any]) -> str:
    """A whole page as text: the body, then the figures by name, the library and our script."""
    scripts = "\n".join(
        f'<script type="application/json" id="figure-{name}">{json_text(figure)}</script>'
        for name, figure in figures.items()
    )
    return (
        "<!doctype html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{text(title)}</title>\n"
        f"<style>\n{asset('page.css')}</style>\n</head>\n<body>\n"
        f"{body}\n{scripts}\n"
        f"<script>{get_plotlyjs()}</script>\n"
        f"<script>\n{asset('page.js')}</script>\n</body>\n</html>\n"
    )


def asset(name: str) -> str:
    """A style or script that ships beside this file."""
    return (_HERE / name).read_text(encoding="utf-8")


def text(value: object) -> str:
    """A value as text that cannot leave its element."""
    return html.escape(str(value), quote=True)


def json_text(value: object) -> str:
    """JSON that cannot end its script element or open a comment."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int], kind: str = ""
) -> str:
    """A table of plain texts; `numbers` are the columns that align right."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=n' if place in numbers else ''}>{text(value)}</{tag}>"
            for place, value in enumerate(row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>\n" for row in rows)
    return (
        f'<table class="{kind}"><thead><tr>{cells("th", heads)}</tr></thead>\n'
        f"<tbody>{body}</tbody></table>"
    )


def details(label: str, inside: str) -> str:
    """A table behind a line that opens it; reachable by keyboard."""
    return (
        f"<details><summary>{text(label)}</summary>"
        f'<div class="scroll" tabindex="0">{inside}</div></details>'
    )


def chart(name: str, spoken: str) -> str:
    """The place of a figure, and what it shows in words."""
    return (
        f'<div class="chart" role="img" aria-label="{text(spoken)}" '
        f'data-figure="figure-{name}"></div>'
    )
