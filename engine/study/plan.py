"""A study file: which fields of a scenario vary, how their values are chosen, over which seeds.

`load_study` is the only way in; what is wrong with the file is one line with file and field.
`requests` is the plan written out: the same runs in the same order on every machine.
"""

import hashlib
import math
import os
import tomllib
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from engine import constants as c
from engine.messages import DecimalText, Message, Name, PathText, Text
from engine.population.chance import Randomness
from engine.scenario import LoadedScenario, load_scenario
from engine.strict import ScenarioError, decode_tree, resolve_path
from engine.study.changes import expand, override
from engine.study.row import Request
from engine.study.watching import Wanted
from engine.units import UnitError, parse_decimal

RUNS_MAX = 1_000_000
ROWS_FORM = (
    "first_adl_ns, paths"  # what was last added to a row; older folders are not gone on with
)
DESIGN_STREAM = 1 << 24  # separates the draw of a design from every draw of a scenario
DRAWN = ("latin_hypercube", "sobol", "saltelli")  # designs that draw their points
UNIT_BITS = 53  # of a draw: what a float of a library holds without loss

Value = bool | int | str | list[bool | int | str]
Field = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^=\s]+$")]
Bound = int | DecimalText


class Vary(Message, frozen=True, kw_only=True):
    """One field and its values: a list of them, or a range to draw from.

    A range has whole numbers or decimal text for its ends, which it includes; `places` is how
    many decimals a drawn text has. `log` draws evenly in the logarithm.
    """

    field: Field
    values: list[Value] = msgspec.field(default_factory=list)
    low: Bound | None = None
    high: Bound | None = None
    scale: Literal["linear", "log"] = "linear"
    places: Annotated[int, Meta(ge=0, le=18)] = 0

    def __post_init__(self) -> None:
        ends = (self.low, self.high)
        if bool(self.values) == (ends != (None, None)):
            raise ValueError("Expected either values, or low and high")
        if self.values:
            return
        if None in ends or type(self.low) is not type(self.high):
            raise ValueError("Expected low and high, both whole numbers or both decimal text")
        low, high = self.units()
        if not low < high:
            raise ValueError("Expected low below high")
        if self.scale == "log" and low <= 0:
            raise ValueError("Expected low above 0 for a log scale")

    def units(self) -> tuple[int, int]:
        """Both ends of the range in units of its last decimal."""
        if isinstance(self.low, int):
            return self.low, self.high
        try:
            return parse_decimal(self.low, self.places), parse_decimal(self.high, self.places)
        except UnitError as error:
            raise ValueError(f"Expected ends of {self.places} decimals: {error}") from None

    def at(self, units: int) -> Value:
        """A whole number of units as a value of the field."""
        if isinstance(self.low, int):
            return units
        whole, part = divmod(units, 10**self.places)
        return f"{whole}.{part:0{self.places}d}" if self.places else f"{whole}"

    def drawn(self, draw: int) -> Value:
        """The value at a draw of 0..2**53-1.

        >>> Vary(field="fund", low="10", high="20", places=1).drawn(1 << 52)
        '15.0'
        """
        if self.values:
            return self.values[draw * len(self.values) >> UNIT_BITS]
        low, high = self.units()
        if self.scale == "log":
            share = draw / (1 << UNIT_BITS)
            return self.at(min(high, round(low * math.exp(share * math.log(high / low)))))
        return self.at(low + (draw * (high - low + 1) >> UNIT_BITS))


class SizeCurve(Message, frozen=True, kw_only=True):
    """Ratios of what a unit of fund costs to what a unit of need beyond it costs, and how many
    further seeds try the size that serves each."""

    ratios_ppm: Annotated[list[Annotated[int, Meta(ge=0, le=c.PPM)]], Meta(min_length=1)]
    check_seeds: Annotated[int, Meta(ge=0, le=100_000)] = 0


class Edge(Message, frozen=True, kw_only=True):
    """What `reverse` looks for: where along one field a condition begins or ends to hold.

    `condition` is adl_starts, bad_debt, or a column of a row, a comparison and a whole number:
    `winner_cut_ppm > 5000`. The search stops when the edge is known to `within`. `across` is a
    second field: an edge for each of its values. `curve` asks how large `vary` must be.
    """

    vary: Vary
    condition: Text
    within: Bound
    across: Vary | None = None
    curve: SizeCurve | None = None

    def __post_init__(self) -> None:
        if self.vary.values:
            raise ValueError("Expected low and high in vary")
        if type(self.within) is not type(self.vary.low) or self.step() < 1:
            raise ValueError("Expected within above 0, of the same kind as low and high")
        if self.across is not None and (
            not self.across.values or self.across.field == self.vary.field
        ):
            raise ValueError("Expected values of another field in across")
        if self.across is not None and self.curve is not None:
            raise ValueError("Expected across or curve, not both")

    def step(self) -> int:
        """`within` in units of the range."""
        if isinstance(self.within, int):
            return self.within
        try:
            return parse_decimal(self.within, self.vary.places)
        except UnitError as error:
            raise ValueError(f"Expected within of {self.vary.places} decimals: {error}") from None


class Require(Message, frozen=True, kw_only=True):
    """A condition, written as for `reverse`, and in what share of the runs it must hold."""

    condition: Text
    share_ppm: Annotated[int, Meta(ge=1, le=c.PPM)] = c.PPM


class Search(Message, frozen=True, kw_only=True):
    """What `search` looks for: the least or greatest of a column, its mean over the seeds or worst.

    `trials` points are tried; `check_seeds` further seeds try the best of them again.
    """

    aim: Literal["least", "greatest"] = "least"
    column: Name
    of: Literal["mean", "worst"] = "mean"
    trials: Annotated[int, Meta(ge=1, le=100_000)] = 64
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    require: list[Require] = msgspec.field(default_factory=list)
    check_seeds: Annotated[int, Meta(ge=0, le=100_000)] = 0


class WatchFor(Message, frozen=True, kw_only=True):
    """An account to follow: a name of the scenario's accounts, or a number; the row gets columns
    that begin with `watch_`. It trades lost lots back after `rehedge_seconds`."""

    account: Name | Annotated[str, Meta(pattern=r"^[0-9]{1,18}$")]
    rehedge_seconds: Annotated[int, Meta(ge=0, le=31_536_000)] = 0


class Study(Message, frozen=True, kw_only=True):
    """A study file. `set` changes the scenario for every run; seeds count up from its own.

    `grid` takes every combination of the values, `list` the first values of all fields, then the
    second ones and so on; `latin_hypercube` and `sobol` draw `points` of them. `saltelli` draws
    `points` base points, and as many again for every field and once more, for Sobol indices.
    """

    name: Name
    title: Text
    description: Annotated[str, Meta(max_length=10_000)] = ""
    scenario: PathText
    changes: list[Text] = msgspec.field(default_factory=list, name="set")
    seeds: Annotated[int, Meta(ge=1, le=100_000)] = 1
    design: Literal["grid", "list", "latin_hypercube", "sobol", "saltelli"] = "grid"
    points: Annotated[int, Meta(ge=1, le=RUNS_MAX)] | None = None
    design_seed: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    vary: list[Vary] = msgspec.field(default_factory=list)
    show: list[Name] = msgspec.field(default_factory=list)
    watch: WatchFor | None = None
    reverse: Edge | None = None
    search: Search | None = None

    def __post_init__(self) -> None:
        fields = [vary.field for vary in self.vary]
        if len(set(fields)) != len(fields):
            raise ValueError("Expected each field once in vary")
        is_drawn = self.design in DRAWN
        if is_drawn != (self.points is not None):
            raise ValueError(f"Expected points for {', '.join(DRAWN)}, and only there")
        for index, vary in enumerate(self.vary):
            if not (vary.values or is_drawn):
                raise ValueError(f"Expected values in vary[{index}] for design {self.design}")
        if self.design == "list" and len({len(vary.values) for vary in self.vary}) > 1:
            raise ValueError("Expected as many values of each field for design list")
        if is_drawn and not self.vary:
            raise ValueError(f"Expected a field to vary for design {self.design}")
        count = math.prod(len(vary.values) for vary in self.vary) if self.design == "grid" else 1
        if self.design == "saltelli":
            count = len(self.vary) + 2
        if count * (self.points or 1) * self.seeds > RUNS_MAX:
            raise ValueError(f"Expected at most {RUNS_MAX} runs")


@dataclass(frozen=True)
class LoadedStudy:
    """A checked study with the scenario it varies, as it is before any field is varied."""

    file: str
    study: Study
    scenario_path: Path
    base: LoadedScenario

    def fail(self, field: str, reason: str) -> None:
        """Raise ScenarioError naming the file and the field."""
        raise ScenarioError(f"{self.file}: $.{field}: {reason}")

    def key(self) -> str:
        """BLAKE2b-128 of everything that decides the rows: file, scenario, venue, engine."""
        swept = msgspec.structs.replace(self.study, reverse=None, search=None)
        parts = (
            msgspec.json.encode(swept, order="deterministic"),
            self.base.scenario.hash().encode(),
            self.base.profile.hash().encode(),
            c.ENGINE_VERSION.encode(),
            ROWS_FORM.encode(),
        )
        digest = hashlib.blake2b(digest_size=16)
        for part in parts:
            digest.update(len(part).to_bytes(8, "little") + part)
        return digest.hexdigest()


def load_study(path: Path | str) -> LoadedStudy:
    """Read and check a study file and its scenario. Raises ScenarioError.

    The scenario is a path inside the study's folder or inside the folder that holds that one.
    """
    path = Path(os.path.abspath(path))
    try:
        tree = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ScenarioError(f"{path.name}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ScenarioError(f"{path.name}: {error}") from None
    study = decode_tree(path.name, tree, Study, "$")
    folder = path.parent
    scenario = resolve_path(path.name, folder, folder.parent, study.scenario, "scenario")
    base = load_scenario(scenario, expand(scenario, study.changes))
    return LoadedStudy(path.name, study, scenario, base)


def points(loaded: LoadedStudy) -> list[tuple[Value, ...]]:
    """The design written out: a tuple of values, in the order of `vary`, for each point."""
    study = loaded.study
    if study.design == "grid":
        return list(product(*(vary.values for vary in study.vary)))
    if study.design == "list":
        return list(zip(*(vary.values for vary in study.vary), strict=True)) or [()]
    draw = {"sobol": _sobol, "saltelli": _saltelli, "latin_hypercube": _hypercube}[study.design]
    draws = draw(loaded)
    return [
        tuple(vary.drawn(draw) for vary, draw in zip(study.vary, row, strict=True)) for row in draws
    ]


def _hypercube(loaded: LoadedStudy) -> list[tuple[int, ...]]:
    """One draw from each of `points` equal stretches of every axis, in random order."""
    study = loaded.study
    count = study.points or 1
    axes = []
    for axis in range(len(study.vary)):
        random = Randomness(study.design_seed, DESIGN_STREAM + axis)
        order, inside = random.order(count).tolist(), random.uniform(count).tolist()
        axes.append([((o << UNIT_BITS) + i) // count for o, i in zip(order, inside, strict=True)])
    return list(zip(*axes, strict=True))


def _sobol(loaded: LoadedStudy) -> list[tuple[int, ...]]:
    """A scrambled Sobol sequence, as the library makes it."""
    study = loaded.study
    try:
        from scipy.stats import qmc
    except ImportError:
        loaded.fail("design", "sobol needs scipy: pip install 'crashtape[study]'")
    sequence = qmc.Sobol(len(study.vary), scramble=True, rng=study.design_seed)
    return _draws(sequence.random(_power_of_two(loaded)).tolist())


def _saltelli(loaded: LoadedStudy) -> list[tuple[int, ...]]:
    """Two independent samples, and the first with each column of the second in its place."""
    study = loaded.study
    try:
        from SALib.sample import sobol
    except ImportError:
        loaded.fail("design", "saltelli needs SALib: pip install 'crashtape[study]'")
    count = _power_of_two(loaded)
    problem = sobol_problem(study)
    rows = sobol.sample(problem, count, calc_second_order=False, seed=study.design_seed)
    return _draws(rows.tolist())


def sobol_problem(study: Study) -> dict[str, Any]:
    """The fields of a study as SALib wants them: every one drawn from 0 to 1."""
    names = [vary.field for vary in study.vary]
    return {"num_vars": len(names), "names": names, "bounds": [[0, 1]] * len(names)}


def _power_of_two(loaded: LoadedStudy) -> int:
    count = loaded.study.points or 1
    if count & (count - 1):
        design = loaded.study.design
        loaded.fail("points", f"expected a power of two for design {design}, got {count}")
    return count


def _draws(rows: list[list[float]]) -> list[tuple[int, ...]]:
    """Numbers from 0 to 1 as draws; 1 itself is the last draw."""
    last = (1 << UNIT_BITS) - 1
    return [tuple(min(last, int(each * (1 << UNIT_BITS))) for each in row) for row in rows]


def request(
    loaded: LoadedStudy, number: int, values: dict[str, Any], seed: int, path: bool = False
) -> Request:
    """The run that sets these fields and this seed."""
    watch = loaded.study.watch
    changes = [*loaded.study.changes, *(override(field, value) for field, value in values.items())]
    return Request(
        number=number,
        scenario=str(loaded.scenario_path),
        changes=[*changes, override("seed", seed)],
        inputs={field: as_cell(value) for field, value in values.items()} | {"seed": seed},
        path=path,
        watched=Wanted(watch.account, watch.rehedge_seconds) if watch else None,
    )


def as_cell(value: Value) -> int | str | bool:
    """A value as one cell of a table; a list becomes JSON."""
    return msgspec.json.encode(value).decode() if isinstance(value, list) else value


def seeds_of(loaded: LoadedStudy) -> list[int]:
    """The seeds of a study: the scenario's own, and those after it."""
    first = loaded.base.scenario.seed
    return [first + step for step in range(loaded.study.seeds)]


def requests(loaded: LoadedStudy) -> list[Request]:
    """Every run of the study in order: point by point, and the seeds of each."""
    fields = [vary.field for vary in loaded.study.vary]
    plan = []
    for values in points(loaded):
        named = dict(zip(fields, values, strict=True))
        plan += [
            request(loaded, len(plan) + place, named, seed, path=True)
            for place, seed in enumerate(seeds_of(loaded))
        ]
    return plan


def check_plan(loaded: LoadedStudy, plan: list[Request]) -> None:
    """Refuse values that no run could take, before the first one begins. Raises ScenarioError.

    Every value of a list is tried, and the ends of every range, each by itself.
    """
    check_values(loaded)
    for each in (plan[0], plan[-1]):
        _try(loaded, each.changes, "vary")


def check_values(loaded: LoadedStudy) -> None:
    """Refuse a value or an end of a range that no run could take. Raises ScenarioError."""
    for index, vary in enumerate(loaded.study.vary):
        tried = vary.values or [vary.low, vary.high]
        for value in tried if loaded.study.design != "list" else ():
            changes = [*loaded.study.changes, override(vary.field, value)]
            _try(loaded, changes, f"vary[{index}]")


def check_change(loaded: LoadedStudy, change: str, place: str) -> None:
    """Refuse one more change that no run could take, naming the study's field. ScenarioError."""
    _try(loaded, [*loaded.study.changes, change], place)


def _try(loaded: LoadedStudy, changes: list[str], place: str) -> None:
    """Load the scenario with these changes; a refusal also names the study's field."""
    try:
        load_scenario(loaded.scenario_path, expand(loaded.scenario_path, changes))
    except ScenarioError as error:
        loaded.fail(place, str(error))
