import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.exact import optimal_policy
from rewardlab.exact.gridworld import gridworld

STEPS = {
    "up": (-1, 0),
    "right": (0, 1),
    "down": (1, 0),
    "left": (0, -1),
    "up-right": (-1, 1),
    "down-right": (1, 1),
    "down-left": (1, -1),
    "up-left": (-1, -1),
    "stay": (0, 0),
}


def transition_by_hand(grid, slip):
    """Transition probabilities by nested loops over cells and actions."""
    states, actions = len(grid.cells), len(grid.actions)
    index = {tuple(cell): state for state, cell in enumerate(grid.cells.tolist())}
    transition = np.zeros((states, actions, states))
    for (row, column), state in index.items():
        for chosen in range(actions):
            for taken, name in enumerate(grid.actions):
                probability = (1 - slip) * (taken == chosen) + slip / actions
                ends = grid.layout[row][column] in "GH"
                target = (row, column) if ends else (row + STEPS[name][0], column + STEPS[name][1])
                transition[state, chosen, index.get(target, state)] += probability
    return transition


layouts = (
    st.tuples(st.integers(1, 4), st.integers(1, 4))
    .flatmap(
        lambda size: st.lists(st.text("..S#GH", min_size=size[1], max_size=size[1]), min_size=size[0], max_size=size[0])
    )
    .filter(lambda rows: set("".join(rows)) & {".", "S"})
)


@given(layouts, st.sampled_from(["compass", "king"]), st.booleans(), st.sampled_from([0.0, 0.1, 1.0]))
def test_agrees_with_nested_loops(layout, moves, stay, slip):
    grid = gridworld(layout, moves=moves, stay=stay, slip=slip, discount=0.9)
    np.testing.assert_allclose(grid.mdp.transition, transition_by_hand(grid, slip), atol=1e-15)
    drawn = np.array([layout[row][column] for row, column in grid.cells])
    assert "#" not in drawn
    assert len(drawn) == sum(cell != "#" for row in layout for cell in row)
    np.testing.assert_array_equal(grid.mdp.terminal, np.isin(drawn, ["G", "H"]))
    first = drawn == "S" if "S" in drawn else ~np.isin(drawn, ["G", "H"])
    np.testing.assert_allclose(grid.mdp.initial, first / first.sum(), atol=1e-15)


@pytest.mark.parametrize("name", ["4x4", "8x8"])
def test_frozen_lake_that_is_not_slippery(name):
    lake = gymnasium.make("FrozenLake-v1", map_name=name, is_slippery=False).unwrapped
    layout = ["".join(tile.decode() for tile in row).replace("F", ".") for row in lake.desc]
    grid = gridworld(layout)
    order = [grid.actions.index(move) for move in ("left", "down", "right", "up")]
    expected = np.zeros((grid.mdp.states, 4, grid.mdp.states))
    for state, actions in lake.P.items():
        for action, [(probability, next_state, _, _)] in actions.items():
            expected[state, action, next_state] += probability
    np.testing.assert_array_equal(grid.mdp.transition[:, order], expected)
    np.testing.assert_array_equal(grid.mdp.initial, lake.initial_state_distrib)


def test_worked_example():
    grid = gridworld(["S.#G", "...."], slip=0.2, discount=0.9)
    start, goal = grid.state(0, 0), grid.state(0, 3)
    up = grid.actions.index("up")
    # up is 0.8 + 0.05 of a bump, left 0.05 of one more; right and down move
    assert grid.mdp.transition[start, up, start] == pytest.approx(0.9)
    assert grid.mdp.transition[start, up, grid.state(0, 1)] == pytest.approx(0.05)
    assert grid.mdp.transition[start, up, grid.state(1, 0)] == pytest.approx(0.05)
    assert (grid.mdp.transition[goal, :, goal] == 1).all()


def test_shortest_path_around_a_wall():
    grid = gridworld(["S#G", ".#.", "..."], discount=0.9)
    reward = np.zeros((grid.mdp.states,) * 3)[:, :4]
    reward[:, :, grid.state(0, 2)] = 1.0
    assert float(optimal_policy(grid.mdp, reward).expected_return) == pytest.approx(0.9**5)  # six steps
    king = gridworld(["S#G", ".#.", "..."], discount=0.9, moves="king")
    reward = np.repeat(reward, 2, axis=1)
    assert float(optimal_policy(king.mdp, reward).expected_return) == pytest.approx(
        0.9**3
    )  # four: diagonals cut corners


def test_draw_puts_values_where_the_cells_are():
    grid = gridworld(["S#", ".G"])
    np.testing.assert_array_equal(grid.draw(np.array([1.0, 2.0, 3.0])), [[1.0, np.nan], [2.0, 3.0]])


def test_a_thousand_states_and_eight_actions():
    grid = gridworld(["." * 40] * 25, moves="king", slip=0.1)
    assert grid.mdp.transition.shape == (1000, 8, 1000)


@pytest.mark.parametrize(
    ("layout", "options", "message"),
    [
        (["S.x"], {}, r"layout row 0, column 2 is 'x', expected one of '\.' \(a free cell\)"),
        (["...", ".. "], {}, "layout row 1, column 2 is ' '"),
        (["...", ".."], {}, "layout row 1 has 2 cells, expected 3 as row 0"),
        (["##", "#G"], {}, "layout has no free cell"),
        ([], {}, "layout is empty"),
        ("\n  \n", {}, "layout is empty"),
        (["S.G"], {"slip": 1.2}, r"slip is 1.2, expected a number in \[0, 1\]"),
        (["S.G"], {"slip": -0.1}, "slip is -0.1"),
        (["S.G"], {"discount": 1.5}, "discount is 1.5"),
        (["S.G"], {"moves": "knight"}, "moves is 'knight', expected one of 'compass', 'king'"),
    ],
)
def test_bad_input_is_named(layout, options, message):
    with pytest.raises(ValueError, match=message):
        gridworld(layout, **options)


@pytest.mark.parametrize("cell", [(0, 1), (5, 0), (-1, 0)])
def test_state_of_a_wall_or_outside_is_an_error(cell):
    with pytest.raises(ValueError, match=r"is a wall or outside the grid"):
        gridworld(["S#G"]).state(*cell)
