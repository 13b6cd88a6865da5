"""`crashtape population`: a population out of a scenario, a positions file or a snapshot."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.printing import progress_bar
from engine.refusal import Refusal

if TYPE_CHECKING:
    from engine.population.columns import FitRow

TABLES = (".csv", ".parquet")


class PopulationRequestError(Refusal):
    """What is asked for does not fit the source: the option and the reason."""


def population(
    source: Annotated[
        Path, typer.Argument(help="A scenario .toml, a .csv or .parquet of positions, a snapshot.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .parquet file to write.")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change one field of the scenario."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="A folder the scenario's files may also be in.")
    ] = None,
    venue: Annotated[
        str | None, typer.Option(help="Of a file: a shipped venue profile, or a .toml file.")
    ] = None,
    columns: Annotated[
        str, typer.Option(metavar="MEANING=COLUMN,...", help="The columns of a positions file.")
    ] = "",
    market: Annotated[
        str, typer.Option(metavar="SYMBOL[=COIN]", help="Of a snapshot: the market to take.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Draw or read a population, write it to Parquet, and show asked against drawn."""
    import msgspec

    with progress_bar() as bar:
        task = bar.add_task("Population", total=None, amount="")

        def told(rows: int) -> None:
            bar.update(task, completed=rows, amount=f"{rows:,} rows")

        if source.suffix == ".toml":
            if venue or columns or market:
                raise PopulationRequestError(
                    "--venue, --columns, --market: the scenario says them; give none"
                )
            count, table = _from_scenario(source, output, changes or [], data, told)
        else:
            if changes or data:
                raise PopulationRequestError(f"--set, --data: {source.name} is no scenario")
            count, table = _from_file(source, output, venue, columns, market, told)
    if as_json:
        rows = [vars(row) for row in table]
        print(msgspec.json.encode({"rows": count, "fit": rows}).decode())
        return
    print("\n".join(fit_lines(table)))
    print(f"{output}: {count:,} rows")


def _from_scenario(source: Path, output: Path, changes: list[str], data: Path | None, told):
    from engine.populate import write_scenario_population
    from engine.scenario import load_scenario

    return write_scenario_population(load_scenario(source, changes, data), output, told)


def _from_file(source: Path, output: Path, venue: str | None, columns: str, market: str, told):
    from engine.peopled import POSITION_MEANINGS
    from engine.populate import write_positions, write_snapshot
    from engine.venue import load_venue

    if venue is None:
        raise PopulationRequestError(f"--venue: expected one for {source.name}")
    profile = load_venue(venue)
    if source.suffix not in TABLES:
        symbol, _, coin = market.partition("=")
        if not symbol or columns:
            reason = "expected SYMBOL or SYMBOL=COIN, and no --columns"
            raise PopulationRequestError(f"--market: {reason} for the snapshot {source.name}")
        return write_snapshot(
            source, profile, output, market=symbol, coin=coin or symbol, told=told
        )
    if market:
        raise PopulationRequestError(f"--market: {source.name} names the market of every row")
    given = dict(part.partition("=")[::2] for part in columns.split(",")) if columns else {}
    for meaning in given:
        if meaning not in POSITION_MEANINGS:
            wanted = ", ".join(POSITION_MEANINGS)
            raise PopulationRequestError(f"--columns: expected {wanted}; got {meaning!r}")
    return write_positions(source, profile, output, columns=given, told=told)


def fit_lines(table: "list[FitRow]") -> list[str]:
    """The table in text: what, where, asked, drawn, unit."""
    cells = [("", "", "asked", "drawn", "")]
    cells += [
        (
            row.name,
            row.market,
            "" if row.asked is None else f"{row.asked:,}",
            f"{row.drawn:,}",
            row.unit,
        )
        for row in table
    ]
    wide = [max(len(row[column]) for row in cells) for column in range(5)]
    return [
        f"{a:<{wide[0]}}  {b:<{wide[1]}}  {c:>{wide[2]}}  {d:>{wide[3]}}  {e}".rstrip()
        for a, b, c, d, e in cells
    ]
