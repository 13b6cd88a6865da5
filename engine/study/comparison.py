"""`crashtape compare`: one scenario under several rules, seed by seed the same tape.

A variant is a name and changes; the first is what the others are compared with. Differences are
taken seed by seed, so what a seed does to all variants alike falls out of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from engine.population.chance import Randomness
from engine.replay import warm_up
from engine.scenario import LoadedScenario, load_scenario
from engine.strict import ScenarioError
from engine.study.changes import expand, override, policy_change
from engine.study.row import Request, as_table
from engine.study.watching import Wanted, WatchedAccount, watch_rows
from engine.study.workers import StudyError, Workers

AS_IS = "as it is"
INPUTS = ("run", "variant", "seed")  # which run of a comparison a path belongs to
RESAMPLES = 2_000
BAND = (25, 975)  # of a thousand: the band that holds 95 %
BAND_STREAM = 1 << 25  # separates the resampling from every other draw
MEASURES = (
    ("Accounts liquidated", "accounts_liquidated_count"),
    ("Notional liquidated", "notional_liquidated_quote"),
    ("Closed in the book", "notional_book_quote"),
    ("Taken over by the fund", "notional_fund_quote"),
    ("Auto-deleveraged", "notional_adl_quote"),
    ("Winners deleveraged", "adl_accounts_count"),
    ("Winners' cut, all", "winner_cut_ppm"),
    ("Winners' cut, worst", "winner_cut_max_ppm"),
    ("Bad debt", "bad_debt_quote"),
    ("Fund at the end", "fund_end_quote"),
    ("Fund at its lowest", "fund_min_quote"),
    ("Fund's open result", "fund_unrealised_quote"),
)


class Variant(msgspec.Struct, frozen=True):
    """One column of a comparison: its name and the overrides that make it."""

    name: str
    changes: list[str] = []


class Band(msgspec.Struct, frozen=True):
    """A mean over the seeds and the range that holds it in 95 of 100 resamplings."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """A row a run, a path a run, and what was compared."""

    base: LoadedScenario
    variants: list[Variant]
    rows: pl.DataFrame
    paths: pl.DataFrame
    failed: list[str]
    note: str = ""  # what else the reader of the page must know


def variants_of(
    profiles: Sequence[str], policies: Sequence[str], sets: Sequence[str], alone: bool = False
) -> list[Variant]:
    """The variants a command line names; several changes of one are joined by `;`. `alone` allows
    the scenario as it is and nothing else.

    >>> [each.name for each in variants_of((), ("adl_price=mark",), ('fund="1"; depth_ppm=2',))]
    ['as it is', 'adl_price=mark', 'fund="1"; depth_ppm=2']
    """
    found = [Variant(AS_IS)] if policies or sets or len(profiles) < 2 else []
    found += [Variant(name, [override("profile", name)]) for name in profiles]
    found += [Variant(text, [policy_change(text)]) for text in policies]
    found += [Variant(text, [part.strip() for part in text.split(";")]) for text in sets]
    names = [variant.name for variant in found]
    if len(found) < 2 and not alone:
        raise StudyError("compare: expected --profiles, --policies or --set")
    if len(set(names)) < len(names):
        raise StudyError("compare: expected each variant once")
    return found


def compare(
    scenario: Path | str,
    variants: Sequence[Variant],
    *,
    seeds: int = 1,
    workers: int = 1,
    also: Sequence[str] = (),
    watched: Wanted | None = None,
    data: Path | str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Comparison:
    """Run every variant under the scenario's seed and those after it; `also` changes them all.
    `watched` is an account whose fate becomes columns of the rows.

    Raises ScenarioError where a variant cannot be loaded, before the first run.
    """
    if seeds < 1 or not variants:
        raise StudyError(f"compare: expected a variant and a seed at least, got {seeds} seeds")
    base = load_scenario(scenario, expand(scenario, also, data), data)
    requests = []
    for variant in variants:
        changes = [*also, *variant.changes]
        try:
            loaded = load_scenario(scenario, expand(scenario, changes, data), data)
            if watched is not None:
                WatchedAccount(loaded, watched)
        except ScenarioError as error:
            raise ScenarioError(f"variant {variant.name!r}: {error}") from None
        for step in range(seeds):
            seed = base.scenario.seed + step
            each = Request.of(len(requests), scenario, [*changes, override("seed", seed)], data)
            inputs = {"variant": variant.name, "seed": seed}
            more = {"inputs": inputs, "path": True, "watched": watched}
            requests.append(msgspec.structs.replace(each, **more))
    warm_up(base.profile)
    results = []
    with Workers(workers) as pool:
        for result in pool.results(requests):
            results.append(result)
            progress(len(results), len(requests))
    results.sort(key=lambda result: result.row["run"])
    rows = [result.row for result in results]
    return Comparison(
        base=base,
        variants=list(variants),
        rows=pl.DataFrame(as_table(rows), infer_schema_length=None),
        paths=path_frame([(result.row, result.path) for result in results]),
        failed=[f"{row['variant']}, seed {row['seed']}: {row['error']}"
                for row in rows if row["error"]],
    )  # fmt: skip


def path_frame(found: Sequence[tuple[dict[str, Any], dict[str, list[int]]]]) -> pl.DataFrame:
    """The paths of all runs under each other, by their rows' number, variant and seed."""
    columns = {"run": pl.Int64, "variant": pl.String, "seed": pl.Int64, "time_ns": pl.Int64}
    measured = ("fund_quote", "mark_price", "liquidations", "adl_fills")
    columns |= dict.fromkeys(measured, pl.Int64)
    frames = [
        pl.DataFrame(path).with_columns(pl.lit(row[name]).alias(name) for name in INPUTS)
        for row, path in found
        if path
    ]
    empty = pl.DataFrame(schema=columns)
    return pl.concat([empty, *(frame.select(list(columns)).cast(columns) for frame in frames)])


def band(values: Sequence[int]) -> Band:
    """Mean and 95 % band of values, by resampling them with the same draws every time.

    >>> band([10, 10, 10])
    Band(mean=10.0, low=10.0, high=10.0)
    """
    count = len(values)
    random = Randomness(count, BAND_STREAM)
    picks = random.uniform(RESAMPLES * count).reshape(RESAMPLES, count) % count
    totals = sorted(sum(values[pick] for pick in row) for row in picks.tolist())
    low, high = (totals[RESAMPLES * edge // 1_000] / count for edge in BAND)
    return Band(sum(values) / count, low, high)


def values_of(comparison: Comparison, variant: str, column: str) -> dict[int, int]:
    """What a column says under each seed of a variant; failed runs are left out."""
    rows = comparison.rows.filter((pl.col("variant") == variant) & (pl.col("error") == ""))
    return dict(rows.select("seed", column).iter_rows()) if column in rows.columns else {}


def watched_table(
    comparison: Comparison, written: Callable[[float], str]
) -> tuple[list[str], list[list[str]]]:
    """What happens to the watched account under each variant; no rows where none was watched."""
    rows = comparison.rows
    if "watch_adl_fills_count" not in rows.columns:
        return [], []
    names = [variant.name for variant in comparison.variants]
    markets = comparison.base.profile.markets
    places = {each.symbol: each.price_decimals for each in markets}
    found = [
        dict(watch_rows(rows.filter(pl.col("variant") == name), written, places)) for name in names
    ]
    labels = dict.fromkeys(label for each in found for label in each)
    cells = [[label, *(each.get(label, "") for each in found)] for label in labels]
    return ["Watched account", *names], cells


def differences(comparison: Comparison, variant: str, column: str) -> list[int]:
    """Variant less the first one, for every seed that both finished."""
    first = values_of(comparison, comparison.variants[0].name, column)
    other = values_of(comparison, variant, column)
    return [other[seed] - first[seed] for seed in first if seed in other]


def same_start(comparison: Comparison) -> str:
    """In words: whether tape and population were the same under all variants, seed by seed."""
    good = comparison.rows.filter(pl.col("error") == "")
    if good.is_empty():
        return "No run finished."
    kinds = good.group_by("seed").agg(pl.col("tape_hash", "population_hash").n_unique())
    if (kinds["tape_hash"] == 1).all():
        return "Every variant had the same tape, commands of the population included, seed by seed."
    if (kinds["population_hash"] == 1).all():
        return (
            "Every variant had the same population, seed by seed; what else a variant changes, "
            "such as the fund or a price, is in its tape."
        )
    return (
        "The variants change what the population is drawn from (units, tiers or sizes), so it was "
        "drawn anew with the same seed: its account sizes follow the same draws, to the lot."
    )
