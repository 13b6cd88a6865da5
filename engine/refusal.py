"""Refusal: the base of errors about files from outside, whose text is always one short line."""

LINE_MAX = 1_000  # characters; a file must not decide how long our own lines are


class Refusal(ValueError):
    """A file is refused. Line ends in the message become spaces, and a long middle is left out.

    >>> str(Refusal("a.toml: expected\\n a number"))
    'a.toml: expected a number'
    >>> len(str(Refusal("x" * 5_000)))
    1000
    """

    def __init__(self, message: str) -> None:
        line = " ".join(message.split())
        if len(line) > LINE_MAX:
            half = LINE_MAX // 2
            line = f"{line[: half - 5]} ... {line[-half:]}"
        super().__init__(line)
