"""docs/rules.md is what the rulebook's docstrings say; every rule is stated once, cited by the core
and shown by an example.

A docstring that begins with `R12.` states a rule, one that begins with `Part of R12:` helps it.
The core cites with `Implements R12`, examples with the number in their docstring. After a change
of the rules: `python tests/test_rules_page.py` writes the page anew.
"""

import ast
import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
REFERENCE, CORE = ROOT / "engine" / "reference", ROOT / "engine" / "core"
BESIDE = (ROOT / "engine" / "calculate" / "formulas.py",)  # rules of what a command brings
EXAMPLES = (ROOT / "tests" / "rules", ROOT / "tests" / "venues", ROOT / "tests" / "differential")
PAGE = ROOT / "docs" / "rules.md"
SECTIONS = [
    (1, "Commands and admission"),
    (10, "The book"),
    (20, "Positions and fills"),
    (30, "Margin"),
    (40, "Risk checks, stops, accounts"),
    (50, "Prices and the market maker"),
    (60, "Funding and recorded trades"),
    (70, "Liquidation"),
    (80, "The loss waterfall"),
    (90, "The whole"),
    (92, "Levels, requirements, prices"),
    (98, "The fund's limits"),
    (100, "Chance, limits of orders, queues"),
    (103, "What nobody absorbed, sessions, calls, debts"),
    (107, "What a liquidation does besides its steps"),
    (111, "How much a step closes, at what price, for what fee"),
    (116, "Further absorbers"),
    (120, "Closing, delivery, assets, volunteers"),
    (125, "Withdrawals, views"),
    (130, "Whose fund, whose profit, whose debt"),
    (134, "A living book"),
    (138, "Policies that share a loss out"),
]
# Rules that no docstring of the core names, and where they are nevertheless.
NOT_CITED = {
    1: "the core as a whole, which is compared with the rulebook's state",
    35: "`core/ledger.py` domain_key",
    39: "`core/ledger.py` spendable",
    42: "`core/triggers.py`, whose ladders hold the stops by trigger price",
    63: "`core/price_commands.py` take_price",
    64: "not in the core: FUNDING brings the rate",
    91: "the tables are made in engine/exchange.py",
}
INTRODUCTION = """# Rules

The rules of the exchange, as `engine/reference/` states them: this page is written from its
docstrings and a test fails when the two differ. Under each rule: where it is stated in plain
Python, which files of the compiled core implement it, and which files of `tests/` show it by worked
examples. Every example runs against both.
"""


@dataclass
class Rule:
    """One rule: its sentence, where it is stated, the sentences of its parts."""

    number: int
    text: str
    place: str
    parts: list[tuple[str, str]] = field(default_factory=list)  # text, place


def docstrings(path: Path) -> list[tuple[str, str]]:
    """(name, docstring in one line) of the module, its classes, functions and methods."""
    found = []

    def visit(node: ast.AST, names: list[str]) -> None:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node)
            names = [*names, node.name] if hasattr(node, "name") else names
            if text:
                found.append((".".join(names), " ".join(text.split())))
        for child in ast.iter_child_nodes(node):
            visit(child, names)

    visit(ast.parse(path.read_text(encoding="utf-8")), [])
    return found


@cache
def stated_rules() -> list[Rule]:
    """Every rule with its parts, by number; AssertionError when one is stated twice."""
    rules: dict[int, Rule] = {}
    parts = []
    for path in (*sorted(REFERENCE.glob("*.py")), *BESIDE):
        for name, text in docstrings(path):
            place = f"`{path.parent.name}/{path.name}` {name}"
            if found := re.match(r"R(\d{2,3})\. (.+)", text):
                number = int(found.group(1))
                assert number not in rules, f"R{number:02} is stated twice: {place}"
                rules[number] = Rule(number, found.group(2), place)
            elif found := re.match(r"Part of R(\d{2,3}): (.+)", text):
                parts.append((int(found.group(1)), found.group(2), place))
    for number, text, place in parts:
        assert number in rules, f"{place}: part of R{number:02}, which is stated nowhere"
        rules[number].parts.append((text, place))
    return [rules[number] for number in sorted(rules)]


def numbers_in(text: str) -> set[int]:
    """Rule numbers in a text; `R20-R23` are four."""
    found = set()
    for first, last in re.findall(r"\bR(\d{2,3})\b(?:\s*-\s*R?(\d{2,3})\b)?", text):
        found |= set(range(int(first), int(last or first) + 1))
    return found


@cache
def core_files() -> dict[int, set[str]]:
    """Which files of the core implement a rule."""
    files = defaultdict(set)
    for path in sorted(CORE.glob("*.py")):
        for _, text in docstrings(path):
            for cited in re.findall(r"(?i:implements) ([^.:;]*)", text):
                for number in numbers_in(cited):
                    files[number].add(f"`core/{path.name}`")
    return files


@cache
def example_files() -> dict[int, set[str]]:
    """Which files hold test functions that name a rule."""
    files = defaultdict(set)
    for folder in EXAMPLES:
        for path in sorted(folder.glob("test_*.py")):
            for name, text in docstrings(path):
                if name.split(".")[-1].startswith("test_"):
                    for number in numbers_in(text):
                        files[number].add(f"`{path.parent.name}/{path.name}`")
    return files


def rules_page() -> str:
    """The whole text of docs/rules.md."""
    core, examples = core_files(), example_files()
    lines = [INTRODUCTION.strip(), ""]
    sections = list(SECTIONS)
    for rule in stated_rules():
        while sections and rule.number >= sections[0][0]:
            title = sections.pop(0)[1]
            if not sections or rule.number < sections[0][0]:
                lines += [f"## {title}", ""]
        lines += [f"**R{rule.number:02}.** {rule.text}", ""]
        lines += [f"- {text[0].upper()}{text[1:]} ({place})" for text, place in rule.parts]
        where = ", ".join(sorted(core[rule.number])) or NOT_CITED.get(rule.number, "")
        shown = ", ".join(sorted(examples[rule.number])) or "none"
        lines.append(f"- Stated: {rule.place}. Core: {where}. Examples: {shown}.")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def test_the_page_says_what_the_docstrings_say():
    message = "docs/rules.md is out of date: run python tests/test_rules_page.py"
    assert PAGE.is_file() and PAGE.read_text(encoding="utf-8") == rules_page(), message


def test_every_number_the_core_cites_is_a_rule():
    known = {rule.number for rule in stated_rules()}
    for number, files in core_files().items():
        assert number in known, f"R{number:02}, cited in {sorted(files)}, is stated nowhere"


@pytest.mark.parametrize("rule", stated_rules(), ids=lambda rule: f"R{rule.number:02}")
def test_every_rule_is_implemented_and_shown(rule: Rule):
    cited = bool(core_files()[rule.number])
    assert cited != (rule.number in NOT_CITED), "cited by the core, or listed with where it is"
    assert example_files()[rule.number], "no worked example names this rule"


def test_examples_name_existing_rules():
    known = {rule.number for rule in stated_rules()}
    for number, files in example_files().items():
        assert number in known, f"R{number:02}, named in {sorted(files)}, is stated nowhere"


if __name__ == "__main__":
    PAGE.write_text(rules_page(), encoding="utf-8")
