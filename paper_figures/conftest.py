"""`pytest paper_figures --scale smoke|small|paper|gpu` runs every figure and holds its verdicts against the ledger."""

import pytest

# Figure files hold no tests and no doctests; importing them all would load torch for nothing.
collect_ignore_glob = ["[!t]*.py"]


def pytest_addoption(parser: pytest.Parser) -> None:
    from paper_figures.figure import SCALES

    parser.addoption("--scale", choices=SCALES, default="smoke", help="size of the figures (default: smoke)")


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest):
    from paper_figures.figure import Scale
    from paper_figures.runner import default_workers

    shared = hasattr(request.config, "workerinput")  # under xdist the figures run beside each other already
    return Scale(request.config.getoption("--scale"), workers=1 if shared else default_workers())


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput") or session.config.option.collectonly:
        return
    from paper_figures.command import in_order
    from paper_figures.ledger import load_ledger
    from paper_figures.report import write_report
    from paper_figures.runner import OUTPUT, discover

    write_report(list(in_order(discover()).values()), OUTPUT, load_ledger())
