"""A verdict that changes, is missing, or has lost its claim is named."""

import pytest

from paper_figures.ledger import disagreements, load_ledger


def test_agreement_is_silent(project):
    assert disagreements(load_ledger(project.ledger), "line", "smoke", project.run().outcomes) == []


def test_a_changed_verdict_names_claim_and_both_outcomes(project):
    project.set_slope(-1)
    (problem,) = disagreements(load_ledger(project.ledger), "line", "smoke", project.run().outcomes)
    assert "line.rises at scale smoke: the ledger says supported, got refuted" in problem
    assert "The slope is positive." in problem


def test_a_missing_entry_is_a_problem(project):
    problems = disagreements({}, "line", "smoke", project.run().outcomes)
    assert [problem.split(":")[0] for problem in problems] == ["line.rises at scale smoke", "line.steep at scale smoke"]
    (problem,) = disagreements(
        load_ledger(project.ledger), "line", "paper", {"rises": "supported", "steep": "refuted"}
    )[:1]
    assert "at scale paper: got supported, and the ledger says nothing" in problem


def test_an_entry_without_its_claim_is_a_problem(project):
    (problem,) = disagreements(load_ledger(project.ledger), "line", "smoke", {"rises": "supported"})
    assert problem == "line.steep: in the ledger, but the figure makes no such claim"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('smoke = "supported"', r"\[line.rises\] needs a sentence"),
        ('smoke = "true"\nsentence = "x"', r"smoke = 'true', expected one of supported, refuted, undecided"),
        ('tiny = "supported"\nsentence = "x"', r"the key 'tiny', expected `sentence` or one of smoke"),
    ],
)
def test_a_bad_entry_is_named(tmp_path, text, message):
    path = tmp_path / "verdicts.toml"
    path.write_text(f"[line.rises]\n{text}\n")
    with pytest.raises(ValueError, match=message):
        load_ledger(path)
