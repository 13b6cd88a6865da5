"""Comparing ADL rules: the same people, prices and seeds under several policies."""

import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo

    mo.md(
        """
        # Who is deleveraged, and at which price?

        Six rules for one crash with a fund that is too small. Every variant has the same tape, the
        same population and the same seeds; only what the venue does with a bankrupt position
        differs.
        """
    )
    return (mo,)


@app.cell
def _():
    from pathlib import Path

    import polars as pl

    from engine import study
    from engine.study.comparison import Variant

    crash = Path(__file__).resolve().parents[2] / "scenarios" / "2020-03-12-black-thursday.toml"
    same = ("population.accounts=300", "prices.step_seconds=30", 'fund="500000"')
    rules = {
        "as the venue": (),
        "profit times leverage": ('venue.losses.adl_score="profit_times_leverage"',),
        "at random": ('venue.losses.adl_score="random"',),
        "at mark": ('venue.losses.adl_price="mark"',),
        "winners only": ('venue.losses.adl_candidates="winners"',),
        "the venue itself": ('venue.losses.waterfall=["fund_unlimited"]',),
    }
    variants = [Variant(name, (*same, *changes)) for name, changes in rules.items()]
    rows = study.compare(crash, variants, seeds=2)
    table = rows.group_by("variant", maintain_order=True).agg(
        pl.col("adl_accounts_count", "winner_cut_ppm", "cost_adl_quote", "fund_end_quote").mean()
    )
    table
    return rows, table


@app.cell
def _(mo, table):
    spared = table.filter(table["variant"] == "the venue itself")["adl_accounts_count"][0]
    mo.md(f"Where the venue takes the rest itself {spared:.0f} winners are closed; its fund pays.")
    return (spared,)


if __name__ == "__main__":
    app.run()
