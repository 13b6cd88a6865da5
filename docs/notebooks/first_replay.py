"""First replay: one crash, its outcome, and the same run again (`marimo edit` opens this file)."""

import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo

    mo.md(
        """
        # First replay

        12 and 13 March 2020 as one file: prices that were published, a population that is drawn
        from a seed, the venue's rules. With 300 accounts and a price every 30 seconds it takes a
        second.
        """
    )
    return (mo,)


@app.cell
def _():
    from pathlib import Path

    from engine import study

    root = Path(__file__).resolve().parents[2]
    crash = root / "scenarios" / "2020-03-12-black-thursday.toml"
    small = ["population.accounts=300", "prices.step_seconds=30"]
    outcome = study.run(crash, small)
    outcome.select(
        "liquidations_count",
        "adl_fills_count",
        "fund_start_quote",
        "fund_end_quote",
        "bad_debt_quote",
    )
    return crash, outcome, small, study


@app.cell
def _(crash, mo, outcome, small, study):
    again = study.run(crash, small)
    same = again["event_digest"].to_list() == outcome["event_digest"].to_list()
    mo.md(f"Run again, every event is the same: **{same}**. A digest is all it takes to compare.")
    return (same,)


@app.cell
def _(crash, mo, small, study):
    smaller = study.run(crash, [*small, 'fund="500000"'])
    mo.md(
        f"With a fund of 500,000 instead of ten million, {smaller['adl_fills_count'][0]} closings "
        "of winners: the same people and prices, another fund."
    )
    return (smaller,)


if __name__ == "__main__":
    app.run()
