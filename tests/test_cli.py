"""The command line, run in this process; `rewardlab --help` in a fresh one."""

import subprocess
import sys

import pytest

from paper_figures import command
from rewardlab.catalogue import PAPERS
from rewardlab.cli import main


def test_papers_lists_every_paper_function_and_figure(capsys):
    assert main(["papers"]) == 0
    printed = capsys.readouterr().out
    for paper in PAPERS:
        for text in (paper.title, paper.arxiv or "no arXiv id", paper.method, *paper.functions, *paper.figures):
            assert text in printed


def test_help_loads_nothing_heavy():
    script = (
        "import sys\nfrom rewardlab.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print({'numpy', 'scipy', 'torch', 'pandas', 'matplotlib', 'gymnasium'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
    assert all(name in done.stdout for name in ("figures", "papers", "compare"))


def test_figures_passes_its_options_on(monkeypatch):
    calls = []
    monkeypatch.setattr(command, "run_command", lambda *arguments: calls.append(arguments) or 0)
    assert main(["figures", "--only", "epic_gridworld", "toy_text", "--scale", "smoke", "--workers", "1"]) == 0
    assert calls == [(("epic_gridworld", "toy_text"), "smoke", 1)]


def test_the_exit_status_is_the_commands(monkeypatch):
    monkeypatch.setattr(command, "run_command", lambda *arguments: 1)
    assert main(["figures"]) == 1


def test_unknown_figure_is_named(capsys):
    assert main(["figures", "--only", "no_such_figure"]) == 2
    assert "no figure 'no_such_figure'; there are " in capsys.readouterr().out


def test_no_workers_is_an_error(capsys):
    assert main(["figures", "--workers", "0"]) == 2
    assert "workers: expected at least 1, got 0" in capsys.readouterr().err


def test_without_the_checkout_figures_say_so(monkeypatch, capsys):
    for name in [name for name in sys.modules if name.split(".")[0] == "paper_figures"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_NoCheckout(), *sys.meta_path])
    assert main(["figures"]) == 2
    assert "not in the installed package" in capsys.readouterr().err


class _NoCheckout:
    """Hides `paper_figures`, as in an environment where only the wheel is installed."""

    def find_spec(self, name, path=None, target=None):
        if name == "paper_figures":
            raise ModuleNotFoundError("No module named 'paper_figures'", name="paper_figures")


@pytest.mark.parametrize("arguments", [["figures", "--scale", "huge"], ["nonsense"], ["compare", "FrozenLake-v1"]])
def test_bad_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    capsys.readouterr()
