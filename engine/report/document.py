"""The frame of a self-contained page: styles, library, data and a few elements, all escaped.

Every text that came from a file is escaped, and JSON inside a page cannot close its script element.
The charting library and everything large are packed (gzip, base64): the browser unpacks them, the
library at once, tables and accounts only when somebody looks at them.
"""

import base64
import gzip
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

_HERE = Path(__file__).parent
LIBRARY_BEGINS, LIBRARY_ENDS = '"use strict";var Plotly=', "window.Plotly = Plotly;"
ROWS_INLINE_MAX = 100  # of a table that is written out; longer ones are packed and paged


def document(
    title: str,
    body: str,
    figures: Mapping[str, Any],
    packed: Mapping[str, str] | None = None,
    scripts: Sequence[str] = (),
) -> str:
    """A whole page as text: the body, then the figures by name, the library and our scripts.

    `packed` is data by name, as `pack` gives it; `scripts` are further files beside this one.
    """
    data = "\n".join(
        [
            *(
                f'<script type="application/json" id="figure-{name}">{json_text(figure)}</script>'
                for name, figure in figures.items()
            ),
            *(
                f'<script type="text/plain" id="packed-{name}">{content}</script>'
                for name, content in {**(packed or {}), "library": _library()}.items()
            ),
        ]
    )
    ours = "".join(f"<script>\n{asset(name)}</script>\n" for name in ("page.js", *scripts))
    return (
        "<!doctype html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{text(title)}</title>\n"
        f"<style>\n{asset('page.css')}</style>\n</head>\n<body>\n"
        f"{body}\n{data}\n{ours}</body>\n</html>\n"
    )


def pack(data: bytes) -> str:
    """Bytes as base64 text of their gzip; equal bytes give equal text."""
    return base64.b64encode(gzip.compress(data, 6, mtime=0)).decode("ascii")


@cache
def _library() -> str:
    return pack(without_wrapper(get_plotlyjs()).encode())


def without_wrapper(library: str) -> str:
    """The charting library without the function that module loaders call, where it has that form.

    A browser reads the body of such a function twice: to find its end, and again when it is called.

    >>> without_wrapper('/* MIT */(()=>{"use strict";var Plotly=1;window.Plotly = Plotly;})()')
    '/* MIT */\\n"use strict";var Plotly=1;'
    """
    begin = library.find(LIBRARY_BEGINS)
    end = library.rfind(LIBRARY_ENDS)
    if not 0 <= begin < end:
        return library
    notice = library[: library.find("*/") + 2]
    return f"{notice}\n{library[begin:end]}"


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


class Packed:
    """Packed data of one page, and the tables that are filled from it a page of rows at a time."""

    def __init__(self) -> None:
        self.data: dict[str, str] = {}

    def table(
        self, name: str, heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int]
    ) -> str:
        """A table of plain texts: short ones as they are, long ones with buttons to turn pages."""
        if len(rows) <= ROWS_INLINE_MAX:
            return table(heads, rows, numbers)
        columns = list(map(list, zip(*rows, strict=True)))
        self.data[f"rows-{name}"] = pack(json_text(columns).encode())
        return (
            f'<div class="paged" data-rows="packed-rows-{name}" data-count="{len(rows)}" '
            f'data-numbers="{" ".join(map(str, numbers))}">{table(heads, [], numbers)}</div>'
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
