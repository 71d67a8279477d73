"""The sweep over steps of the figure, against the solver it stands for."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from paper_figures.neumann_is_first_order_study import STEPS, series_cosines  # noqa: E402
from rewardlab.shaping.sampled.curvature import solve_curvature  # noqa: E402


def test_the_sweep_is_that_of_the_solver():
    rng = np.random.default_rng(0)
    half = torch.tensor(rng.normal(size=(5, 5)))
    curved, vector = -half @ half.T, torch.tensor(rng.normal(size=5))
    found = series_cosines(vector, lambda u: curved @ u, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [solve_curvature("neumann", vector, lambda u: curved @ u, loops=5, step=s).cosine for s in STEPS]
    np.testing.assert_allclose(found, expected, atol=1e-9)
