import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.shaping.sampled.blend_network import BlendNetwork
from rewardlab.shaping.sampled.published import published_blend


@given(st.booleans(), st.booleans(), st.sampled_from(["linear", "scalar"]), st.integers(1, 3))
def test_blend_by_hand(bonus, primary_too, kind, heuristics):
    settings = {"learn_bonus": bonus, "learn_primary": primary_too, "bonus_offset": 0.5}
    blend = BlendNetwork(kind, 4, heuristics, **settings, rng=1)
    generator = np.random.default_rng(0)
    x, primary, auxiliary = (torch.from_numpy(generator.normal(size=(2, 3, *s))) for s in ((4,), (), (heuristics,)))
    found = blend(x, primary, auxiliary).detach()
    for i, j in np.ndindex(2, 3):
        heads = [float(v) for v in blend.values]
        if kind == "linear":
            heads = [h + float(x[i, j] @ row) for h, row in zip(heads, blend.weight, strict=True)]
        expected = heads.pop(0) + 0.5 if bonus else 0.0
        expected += float(primary[i, j]) * (heads.pop(0) if primary_too else 1)
        expected += sum(h * float(a) for h, a in zip(heads, auxiliary[i, j], strict=True))
        assert float(found[i, j]) == pytest.approx(expected)


def test_penalty_is_the_sum_of_norms_not_squared():
    blend = BlendNetwork("linear", 3, 1, start=2.0)
    with torch.no_grad():
        blend.weight.fill_(1.0)
    assert float(blend.penalty()) == pytest.approx(math.sqrt(6) + 2.0)
    assert float(BlendNetwork("scalar", heuristics=2, start=0.0).penalty()) == 0


def test_starts():
    blend = BlendNetwork("linear", 16, 1, discount=0.9)
    assert float(blend.discount()) == pytest.approx(0.9) and 0 < float(blend.weight.detach().abs().max()) <= 0.25
    scalar = published_blend("half_cheetah", 32)
    x, primary, auxiliary = torch.zeros(5, 32), torch.arange(5.0).double(), torch.ones(5, 1).double()
    torch.testing.assert_close(scalar(x, primary, auxiliary), primary + 1)  # the plain sum
    assert float(scalar.penalty()) == pytest.approx(math.sqrt(2))
    maze, cart = (published_blend(world, 16, rng=1) for world in ("maze", "cartpole"))
    assert maze.weight.shape == (2, 16) and cart.weight.shape == (3, 16)
    assert float(maze.discount()) == pytest.approx(1 / (1 + math.exp(-4.6)), abs=1e-12)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BlendNetwork("quadratic", 3), "kind is 'quadratic'"),
        (lambda: BlendNetwork("linear", 3, 0), "heuristics is 0"),
        (lambda: BlendNetwork("linear", 3, discount=1.0), r"discount is 1.0, expected a number in \(0, 1\)"),
        (lambda: BlendNetwork("linear", 3, discount=-0.5), "discount is -0.5"),
        (
            lambda: BlendNetwork("scalar", heuristics=2)(torch.zeros(1, 3), torch.zeros(1), torch.zeros(1, 3)),
            "auxiliary holds 3 rewards a step, the blend 2 weights",
        ),
        (lambda: published_blend("chess", 3), "world is 'chess'"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
