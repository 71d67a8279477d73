"""`import rewardlab` costs next to nothing, and brings in nothing heavy."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys, time
before = set(sys.modules)
started = time.perf_counter()
import {module}
seconds = time.perf_counter() - started
print(json.dumps([seconds, sorted(set(sys.modules) - before)]))
"""
BUDGET = 0.2  # seconds
RUNS = 5


def _fresh_import(module: str) -> tuple[float, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(module=module)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("module", ["rewardlab", "rewardlab.cli", "rewardlab.catalogue"])
def test_import_is_light(module):
    runs = [_fresh_import(module) for _ in range(RUNS)]
    seconds, modules = min(runs)
    heavy = {"torch", "matplotlib", "scipy", "pandas", "numpy", "gymnasium"} & set(modules)
    listing = "\n".join(modules)
    assert not heavy, f"import {module} loads {sorted(heavy)}; modules loaded:\n{listing}"
    assert seconds < BUDGET, f"import {module} takes {seconds:.3f} s, budget {BUDGET} s; modules loaded:\n{listing}"


def test_rooms_need_neither_torch_nor_matplotlib():
    _, modules = _fresh_import("rewardlab.exact, rewardlab.distance, rewardlab.transforms")
    assert not {"torch", "matplotlib"} & set(modules), "modules loaded:\n" + "\n".join(modules)


def test_rooms_load_on_first_use():
    script = (
        "import sys, rewardlab; assert 'rewardlab.catalogue' not in sys.modules; print(rewardlab.catalogue.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "rewardlab.catalogue"


def test_unknown_attribute_names_the_rooms():
    import rewardlab

    with pytest.raises(AttributeError, match="no attribute 'distances'; it has adapters, audit, catalogue, distance"):
        _ = rewardlab.distances
    assert {"exact", "distance", "catalogue", "transforms"} <= set(dir(rewardlab))
