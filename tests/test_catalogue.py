"""Everything the catalogue names exists."""

import importlib
import re
from pathlib import Path

import pytest

from paper_figures.runner import discover
from rewardlab.catalogue import PAPERS

ROOT = Path(__file__).resolve().parent.parent
FUNCTIONS = sorted({name for paper in PAPERS for name in paper.functions})
FIGURES = sorted({name for paper in PAPERS for name in paper.figures})
NOTEBOOKS = sorted({paper.notebook for paper in PAPERS if paper.notebook})


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_resolves_and_is_documented(name):
    module, _, attribute = name.rpartition(".")
    function = getattr(importlib.import_module(module), attribute)
    assert callable(function)
    assert function.__doc__, f"{name} has no docstring"


@pytest.mark.parametrize("name", FIGURES)
def test_figure_exists(name):
    assert name in discover()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_exists(name):
    assert (ROOT / "notebooks" / f"{name}.ipynb").is_file()


def test_every_figure_belongs_to_a_paper():
    assert set(discover()) <= set(FIGURES)


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.title)
def test_fields(paper):
    assert paper.arxiv is None or re.fullmatch(r"\d{4}\.\d{5}", paper.arxiv)
    assert paper.arxiv is None or 2000 + int(paper.arxiv[:2]) == paper.year
    assert paper.title
    assert paper.method
    assert paper.question.endswith("?")
    assert paper.functions


def test_papers_are_listed_once():
    assert len({paper.title for paper in PAPERS}) == len(PAPERS)
