"""The page shows every claim with its verdict and number, and needs nothing from outside."""

import re

from paper_figures.ledger import load_ledger
from paper_figures.report import LARGEST_SVG, significant, write_report
from paper_figures.runner import discover


def page(project):
    figures = list(discover(project.folder).values())
    return write_report(figures, project.output, load_ledger(project.ledger), root=project.root).read_text()


def test_everything_the_reader_needs_is_there(project):
    project.run()
    html = page(project)
    for text in (
        "A line &amp; its slope",
        "The line rises.",
        "It is &lt;steep&gt;.",
        "slope above 0",
        "slope 2.00",
        "[1.00, 3.00]",
        "slope 2",
        "One line only.",
        "So it is.",
        "https://arxiv.org/abs/2309.15257",
        "Ng 1999",
        "0.667",
        "scale smoke",
        "seed 0",
        "1 of 1",
        "href='#line'",
        "<section id='line'>",
    ):
        assert text in html, text
    assert re.search(r"<b>1</b><span>. supported", html)
    assert re.search(r"<b>1</b><span>. refuted", html)
    assert "<!-- " not in html
    assert "Out of date" not in html


def test_the_page_loads_nothing_from_outside(project):
    project.run()
    html = page(project)
    assert "<script" not in html
    assert "<link" not in html
    assert all(source.startswith("data:image/") for source in re.findall(r"src='([^']*)'", html))


def test_an_outdated_result_says_so(project):
    project.run()
    project.set_slope(3)
    assert "Out of date" in page(project)


def test_a_changed_verdict_is_marked(project):
    project.set_slope(-1)
    project.run()
    assert "the ledger says supported, got refuted" in page(project)


def test_a_figure_without_a_result_is_listed(project):
    html = page(project)
    assert "Not run yet: line." in html
    assert "0 of 1" in html


def test_a_very_large_picture_goes_in_as_png(project):
    project.run()
    assert "data:image/svg+xml" in page(project)
    svg = project.output / "line" / "figure.svg"
    svg.write_text(svg.read_text() + " " * LARGEST_SVG)
    assert "data:image/png" in page(project)


def test_significant():
    assert [significant(value) for value in (0.123456, 12345.6, -0.05, 3.2e-7, 1e9)] == [
        "0.123",
        "12346",
        "-0.0500",
        "3.20e-07",
        "1.00e+09",
    ]
    assert [significant(value) for value in (0.0, None, 7, True, "text")] == ["0", "–", "7", "yes", "text"]
