"""docs/policies.md is what the docstrings of the policies and scores say.

A policy's docstring opens with its number in the list of the literature and its rule; `Source:`,
`Rounding:` and `Options:` follow. After a change `python tests/policies/test_policies_page.py`
writes the page.
"""

import re
from pathlib import Path

import pytest
from waves import REAL_LOTS

from engine.bearers import Options
from engine.policies.registry import POLICIES, SCORES, Policy
from engine.reference.scores import EXACT

PAGE = Path(__file__).resolve().parents[2] / "docs" / "policies.md"
SOURCES = {
    "C25": "Chitra, arXiv 2512.01112 v3",
    "C25v1": "its first empirical appendix",
    "OSS": "pluriholonomic/autodeleveraging-analysis (MIT), as read",
    "HL": "Hyperliquid's documentation and its forks; the short side is ours",
    "V4": "dydxprotocol/v4-chain",
    "FND": "drift-labs/protocol-v2: losses spread through cumulative funding",
    "SET18": "OKEx notices of August 2018, as reported",
    "WDR": "Paradex documentation",
    "PERC": "percolator README and specification",
    "LIB": "FLOX-Foundation/flox",
    "GEN": "BitMEX's ranking as generally known, not read again",
}
INTRODUCTION = """# Policies of last resort

Who bears a loss that neither the loser nor the insurance fund can pay: 23 ways, named in
`engine/policies/registry.py`. This page is written from their docstrings and a test fails when
the two differ. Every policy shares a need in **contract space** (lots closed) and in **wealth
space** (money taken). It returns the amounts, the residual nobody was found for, and the excess a
rule took on top: `sum(amounts) = need - residual + excess`, to the unit. The compiled form,
`allocate`, is tested to equal the exact one in fractions, `allocate_exactly`.

In the engine they are choices of a profile. With `losses.adl_policy` the absorber `adl` closes lots
by one of them instead of by the venue's ranking (R138); the absorber `loss_sharing` collects what a
bankrupt domain lacks by `losses.sharing_policy`, and nobody is closed (R139). What they read is in
`losses.sharing`. Whatever would go beyond the lots of the bankrupt position is taken back, so 1
closes what 2 does, and 17 finds only the other side:

```sh
crashtape compare scenarios/2020-03-12-black-thursday.toml --out runs/adl \
    --policies adl_policy=contract_pro_rata,adl_policy=min_max_haircut,adl_policy=lottery
```

Unless a rule says otherwise, a candidate is a position in profit on the other side; what can be
taken is its profit, and in lots no more than its profit pays for at the gap between mark and ADL
price. Ties: larger score, larger notional, smaller account id, earlier position. Policies 18 to
21 and 23 close nothing: in contract space their whole need is residual. Policy 12 takes its need
in money in both spaces.
"""


def text_of(policy: Policy) -> str:
    return " ".join(policy.exact.__doc__.split())


def part(text: str, name: str) -> str:
    """The text after `name:` up to the next such word."""
    found = re.search(rf"{name}: (.*?)\.?(?= (?:Source|Rounding|Options):|$)", text)
    return found.group(1) if found else ""


def rule_of(policy: Policy) -> str:
    text = re.sub(r"^4\.\d+ ", "", text_of(policy))
    return text.split(". ")[0].rstrip(".") + "."


def page() -> str:
    """The whole text of docs/policies.md."""
    lines = [INTRODUCTION.strip(), "", "| | name | rule | source | rounding | options |"]
    lines.append("|---|---|---|---|---|---|")
    for policy in POLICIES.values():
        text = text_of(policy)
        cells = [str(policy.number), f"`{policy.name}`", rule_of(policy)]
        cells += [part(text, name) for name in ("Source", "Rounding", "Options")]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## Scores", "", "| | name | the higher is closed first | source |"]
    lines.append("|---|---|---|---|")
    for name, score in SCORES.items():
        text = " ".join(EXACT[score].__doc__.split())
        rule, source = text.split(" Source: ")
        lines.append(f"| {score.value + 1} | `{name}` | {rule} | {source.rstrip('.')} |")
    lines += ["", "## Sources", ""]
    lines += [f"- [{key}] {value}." for key, value in SOURCES.items()]
    lines += ["", *real_lots(), ""]
    return "\n".join(lines)


def real_lots() -> list[str]:
    """The section on whole coins and lots."""
    return [
        "## What real lots change",
        "",
        "Contracts pro-rata on the BTC and SOL shorts of the public snapshot of 10 October 2025,",
        "for needs of that day's waves, in USD: in whole coins, as a published study rounds, and",
        "in the venue's lots (0.00001 BTC, 0.01 SOL). Made by `tests/policies/test_real_lots.py`;",
        "`tests/policies/test_published_waves.py` reproduces the study's own tables.",
        "",
        "| wave | coin | needed | needed, USD | whole coins | accounts | lots | accounts |",
        "|---|---|---|---|---|---|---|---|",
        *[
            f"| {wave} | {coin} | {coins} | {need} | {whole} | {few} | {lots} | {many} |"
            for wave, coin, coins, need, whole, lots, few, many in REAL_LOTS
        ],
    ]


def test_the_page_says_what_the_docstrings_say():
    message = "docs/policies.md is out of date: run python tests/policies/test_policies_page.py"
    assert PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page(), message


@pytest.mark.parametrize("policy", POLICIES.values(), ids=lambda policy: policy.name)
def test_a_docstring_has_every_part(policy):
    text = text_of(policy)
    assert text.startswith(f"4.{policy.number} ")
    assert part(text, "Source") and part(text, "Rounding") and rule_of(policy).endswith(".")
    options = part(text, "Options")
    for name in filter(None, options.split(", ")):
        assert name in Options._fields, f"{name} is no option"


def test_every_source_is_spelled_out_and_used():
    text = page().split("## Sources")[0]
    assert set(re.findall(r"\[(\w+)\]", text)) == set(SOURCES)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
