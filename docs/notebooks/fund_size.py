"""Choosing a fund size: a grid of funds and depths over seeds, and where the edge is."""

import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo

    mo.md(
        """
        # How large a fund?

        `studies/fund-size.toml` runs 12-13 March 2020 with four funds, three depths of the book and
        four seeds, on a small population: it shows how a study is made, and claims nothing of that
        day.
        """
    )
    return (mo,)


@app.cell
def _():
    from pathlib import Path
    from tempfile import mkdtemp

    import polars as pl

    from engine import study

    file = Path(__file__).resolve().parents[2] / "studies" / "fund-size.toml"
    rows = study.sweep(file, Path(mkdtemp()) / "fund-size")
    table = (
        rows.group_by("fund", "depth_ppm")
        .agg(pl.col("winner_cut_ppm").mean().round(0), pl.col("bad_debt_quote").mean())
        .sort(pl.col("fund").cast(pl.Float64), "depth_ppm")
    )
    table
    return file, rows, study, table


@app.cell
def _(file, mo, study):
    edges = study.reverse(file)
    mo.md(
        "`reverse` looks for the edge itself: the smallest shock at which a winner is cut by more "
        f"than 2,000 ppm, one for each of {edges.height} seeds."
    )
    edges
    return (edges,)


if __name__ == "__main__":
    app.run()
