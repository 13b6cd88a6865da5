"""An explanation as lines of text. Nothing is said here that the answer does not hold."""

from engine.across import Row
from engine.explain import DomainAnswer, Explanation, Move, Outcome, PositionAnswer
from engine.situation import LoadedSituation, SituationError

STEPS_TOLD = 40  # of one move


def wanted_marks(loaded: LoadedSituation, texts: list[str]) -> dict[str, str]:
    """`MARKET=PRICE` arguments; a market may be named by how its symbol begins."""
    marks = {}
    for text in texts:
        name, equals, price = text.partition("=")
        found = [s for s in loaded.situation.markets if s == name]
        found = found or [s for s in loaded.situation.markets if name and s.startswith(name)]
        if not equals or len(found) != 1:
            known = ", ".join(loaded.situation.markets)
            raise SituationError(f"--mark {text!r}: expected MARKET=PRICE, a market of {known}")
        marks[found[0]] = price
    return marks


def explanation_lines(answer: Explanation) -> list[str]:
    """The whole answer."""
    lines = [f"{answer.title or 'Situation'} ({answer.venue}, as of {answer.as_of})"]
    for patch in answer.patches:
        lines.append(f"  changed: {patch.path} = {patch.after}, was {patch.before or 'not set'}")
    for account in answer.accounts:
        lines += ["", f"{account.account}"]
        for domain in account.domains:
            if domain.positions or domain.domain == "cross":
                lines += domain_lines(domain, answer.asset)
    if answer.move is not None:
        lines += ["", *move_lines(answer.move, answer.asset)]
    lines += ["", f"Rules: {answer.residual_rule}; {answer.surplus_rule}."]
    if answer.assumed:
        lines.append("Assumed, since no source says it:")
        lines += [f"  {each}" for each in answer.assumed]
    return lines


def domain_lines(domain: DomainAnswer, asset: str) -> list[str]:
    """One margin domain and its positions."""
    ratio = "" if domain.margin_ratio is None else f", margin ratio {domain.margin_ratio}"
    lines = [
        f"  {domain.domain}: equity {domain.equity} {asset}, balance {domain.balance}, "
        f"initial margin {domain.initial_margin}, maintenance {domain.maintenance_margin}"
        f"{ratio}; {domain.state}"
    ]
    return lines + [line for p in domain.positions for line in position_lines(p)]


def position_lines(p: PositionAnswer) -> list[str]:
    """One position."""
    at = p.liquidation_price or "no mark of this market alone"
    lines = [
        f"    {p.side} {p.size} {p.market} from {p.entry_price}, mark {p.mark_price}: "
        f"profit {p.unrealised_pnl}, notional {p.notional}, tier {p.tier}",
        f"      liquidated at {at}, bankrupt at {p.bankruptcy_price}",
    ]
    if p.adl_lights:
        lines.append(
            f"      deleveraging: score {p.adl_score}, place {p.adl_rank} of {p.adl_queue}, "
            f"{p.adl_lights} of 5 lights"
        )
    return lines


def move_lines(move: Move, asset: str) -> list[str]:
    """What happens, who pays, what is owed."""
    goal = ", ".join(f"{symbol} goes to {price}" for symbol, price in move.marks.items())
    lines = [f"If {goal}:"]
    told = [f"  {step.seconds.rstrip('0').rstrip('.')} s  {step.text}" for step in move.steps]
    if len(told) > STEPS_TOLD:
        left = f"  ... {len(told) - STEPS_TOLD} more steps, all of them with --json"
        told = [*told[: STEPS_TOLD // 2], left, *told[-STEPS_TOLD // 2 :]]
    lines += told
    if move.who_pays:
        lines.append("Who pays:")
        lines += [f"  {p.who}: {p.amount} {asset} ({p.note})" for p in move.who_pays]
    return lines + [line for outcome in move.outcomes for line in outcome_lines(outcome, asset)]


def outcome_lines(outcome: Outcome, asset: str) -> list[str]:
    """What one account has left."""
    held = ", ".join(outcome.positions_after) or "no position"
    lines = [
        f"{outcome.account}: equity {outcome.equity_before} -> {outcome.equity_after} {asset}, "
        f"{held}; owes {outcome.owes} {asset}"
    ]
    if outcome.still_in_liquidation:
        lines.append("  still in liquidation: nobody was there to take the rest.")
    if outcome.was_liquidated:
        lines.append(f"  {outcome.owes_rule}.")
    return lines


def comparison_lines(rows: list[Row]) -> list[str]:
    """One line a venue and position, and what is lost and owed there."""
    lines = []
    for row in rows:
        if row.explanation is None:
            lines.append(f"{row.venue}: cannot be compared: {row.refused}")
            continue
        answer = row.explanation
        for account in answer.accounts:
            for domain in account.domains:
                for p in domain.positions:
                    lines.append(
                        f"{row.venue}: {account.account} {p.side} {p.size} {p.market}, equity "
                        f"{domain.equity} {answer.asset}, maintenance {p.maintenance_margin}, "
                        f"liquidated at {p.liquidation_price or 'none'}, bankrupt at "
                        f"{p.bankruptcy_price}"
                    )
        outcomes = answer.move.outcomes if answer.move else []
        for each in outcomes:
            lines.append(f"  {each.account}: lost {each.lost}, owes {each.owes} {answer.asset}")
        lines.append(f"  {answer.residual_rule}; {answer.surplus_rule}")
    return lines
