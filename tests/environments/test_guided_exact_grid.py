"""The grid with guidance: its best return, and what each reward pays where."""

import numpy as np
import pytest

from environments.guided.exact_grid import guided_grid
from rewardlab.exact import occupancy, optimal_policy


def test_best_return():
    world = guided_grid()
    assert float(optimal_policy(world.mdp, world.primary).expected_return) == pytest.approx(0.9165, abs=5e-5)


def test_rewards_depend_on_the_cell_that_is_entered():
    world = guided_grid(trap=(1, 3))
    goal, trap = world.grid.state(4, 4), world.grid.state(1, 3)
    assert world.primary[0, 0, goal] == pytest.approx(0.999)
    assert world.primary[0, 0, trap] == pytest.approx(-0.001)
    assert world.good[0, 0, goal] == 0
    assert world.good[0, 0, 0] == -2
    assert world.good[0, 0, trap] == pytest.approx(-(0.75**2 + 0.25**2))
    np.testing.assert_array_equal(np.flatnonzero(world.bad[3, 2]), [trap])


def test_the_bad_advice_holds_its_agent_in_the_trap():
    world = guided_grid()
    visits = occupancy(world.mdp, optimal_policy(world.mdp, world.primary + world.bad).policy).sum(-1)
    assert visits[world.grid.state(2, 2)] > 0.3 * visits.sum()
    assert not world.bad[:, :, world.mdp.terminal].any()


@pytest.mark.parametrize("trap", [(4, 4), (5, 0), (-1, 0)])
def test_bad_trap(trap):
    with pytest.raises(ValueError, match=r"goal|outside"):
        guided_grid(trap=trap)
