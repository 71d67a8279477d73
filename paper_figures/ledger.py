"""The ledger of verdicts: what each claim is expected to come out as, so that a change is noticed and explained.

Each claim has a table `[figure_id.claim-id]` with a key a scale (`small = "supported"`) and a `sentence` that says why.
"""

import tomllib
from pathlib import Path

from paper_figures.figure import OUTCOMES, SCALES

LEDGER = Path(__file__).with_name("verdicts.toml")
Ledger = dict[str, dict[str, dict[str, str]]]


def load_ledger(path: Path = LEDGER) -> Ledger:
    """Read the ledger.

    Raises:
        ValueError: If an entry lacks its sentence, or holds an unknown scale or outcome.
    """
    ledger = tomllib.loads(path.read_text(encoding="utf-8"))
    for figure, claims in ledger.items():
        for claim, entry in claims.items():
            where = f"{path.name}: [{figure}.{claim}]"
            if not entry.get("sentence"):
                raise ValueError(f"{where} needs a sentence that says why the outcome is what it is")
            for key, outcome in entry.items():
                if key != "sentence" and key not in SCALES:
                    raise ValueError(f"{where} has the key {key!r}, expected `sentence` or one of {', '.join(SCALES)}")
                if key != "sentence" and outcome not in OUTCOMES:
                    raise ValueError(f"{where} {key} = {outcome!r}, expected one of {', '.join(OUTCOMES)}")
    return ledger


def disagreements(ledger: Ledger, figure: str, scale: str, outcomes: dict[str, str]) -> list[str]:
    """Where a figure's outcomes differ from the ledger, one sentence each; empty when they agree.

    Args:
        ledger: As `load_ledger` returns it.
        figure: The figure's id.
        scale: Name of the scale the figure ran at.
        outcomes: What each claim came out as, by claim id.
    """
    expected = ledger.get(figure, {})
    found = []
    for claim, outcome in outcomes.items():
        entry, where = expected.get(claim, {}), f"{figure}.{claim} at scale {scale}"
        if scale not in entry:
            found.append(f"{where}: got {outcome}, and the ledger says nothing; add it to verdicts.toml")
        elif entry[scale] != outcome:
            found.append(
                f"{where}: the ledger says {entry[scale]}, got {outcome}; "
                f"find out why before changing the ledger, which says: {entry['sentence']}"
            )
    unclaimed = [claim for claim in expected if claim not in outcomes]
    return found + [f"{figure}.{claim}: in the ledger, but the figure makes no such claim" for claim in unclaimed]
