"""The hash changes with anything a result depends on, and with nothing else."""

import pytest

from paper_figures import fingerprint as module
from paper_figures.fingerprint import fingerprint, import_closure


@pytest.fixture
def tree(tmp_path):
    files = {
        "paper_figures/__init__.py": "",
        "paper_figures/one.py": "import rewardlab\nfrom environments import grid\nrewardlab.distance.starc()\n",
        "paper_figures/other.py": "",
        "environments/__init__.py": "",
        "environments/grid.py": "from . import walls\nimport numpy as np\n",
        "environments/walls.py": "def f():\n    from .inner.deep import thing\n",
        "environments/inner/__init__.py": "",
        "environments/inner/deep.py": "from ..unused_elsewhere import x\n",
        "environments/unused_elsewhere.py": "",
        "rewardlab/__init__.py": "def __getattr__(name): ...\n",
        "rewardlab/cli.py": "",
        "rewardlab/distance/__init__.py": "def __getattr__(name): ...\n",
        "rewardlab/distance/starc.py": "",
        "rewardlab/exact/__init__.py": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_closure_follows_every_kind_of_import(tree):
    found = {str(path.relative_to(tree)) for path in import_closure(tree / "paper_figures" / "one.py", tree)}
    assert found == {
        "paper_figures/one.py",
        "environments/__init__.py",
        "environments/grid.py",
        "environments/walls.py",
        "environments/inner/__init__.py",
        "environments/inner/deep.py",
        "environments/unused_elsewhere.py",
        "rewardlab/__init__.py",
        "rewardlab/distance/__init__.py",  # reached as an attribute
        "rewardlab/distance/starc.py",  # loaded lazily by its package
    }


@pytest.mark.parametrize("name", ["paper_figures/one.py", "environments/inner/deep.py", "rewardlab/distance/starc.py"])
def test_an_edited_dependency_changes_the_hash(tree, name):
    figure = tree / "paper_figures" / "one.py"
    before = fingerprint(figure, scale="smoke", seed=0, root=tree)
    (tree / name).write_text((tree / name).read_text() + "# edited\n")
    assert fingerprint(figure, scale="smoke", seed=0, root=tree) != before


@pytest.mark.parametrize("name", ["paper_figures/other.py", "rewardlab/cli.py", "rewardlab/exact/__init__.py"])
def test_an_edit_elsewhere_does_not(tree, name):
    figure = tree / "paper_figures" / "one.py"
    before = fingerprint(figure, scale="smoke", seed=0, root=tree)
    (tree / name).write_text("# edited\n")
    assert fingerprint(figure, scale="smoke", seed=0, root=tree) == before


def test_scale_seed_and_versions_count(tree, monkeypatch):
    figure = tree / "paper_figures" / "one.py"
    hashes = {fingerprint(figure, scale=scale, seed=seed, root=tree) for scale in ("smoke", "small") for seed in (0, 1)}
    assert len(hashes) == 4
    monkeypatch.setattr(module, "library_versions", lambda: {"numpy": "0.1"})
    assert fingerprint(figure, scale="smoke", seed=0, root=tree) not in hashes


def test_a_table_that_the_code_names_counts(tree):
    (tree / "environments" / "walls.csv").write_text("1,2")
    (tree / "environments" / "grid.py").write_text("from . import walls\nTABLE = 'walls.csv'\n")
    start = tree / "paper_figures" / "one.py"
    before = fingerprint(start, scale="small", seed=0, root=tree)
    (tree / "environments" / "walls.csv").write_text("1,3")
    assert fingerprint(start, scale="small", seed=0, root=tree) != before
