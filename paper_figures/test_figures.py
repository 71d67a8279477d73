"""Every figure runs at the asked scale, leaves its files, and comes out as the ledger says."""

import pytest

from paper_figures.figure import Scale
from paper_figures.ledger import disagreements, load_ledger
from paper_figures.runner import FILES, OUTPUT, discover, run_figure

FIGURES = discover()


@pytest.mark.parametrize("name", FIGURES)
def test_figure(name: str, scale: Scale):
    result = run_figure(FIGURES[name], scale)
    assert [file for file in FILES if not (OUTPUT / name / file).stat().st_size] == []
    problems = disagreements(load_ledger(), name, scale.name, result.outcomes)
    assert not problems, "\n".join(problems)


def test_the_ledger_names_only_figures_that_exist():
    unknown = [figure for figure in load_ledger() if figure not in FIGURES]
    assert not unknown, f"verdicts.toml lists {', '.join(unknown)}, and there is no such figure"
