import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.shaping.sampled.features import FourierFeatures, OneHot, RandomFeatures, RawFeatures, TileCoding

places = st.lists(st.tuples(st.floats(-1, 1), st.floats(2, 4)), min_size=1, max_size=4)


@given(places, st.integers(1, 4))
def test_fourier_features_by_hand(rows, order):
    features = FourierFeatures([-1.0, 2.0], [1.0, 4.0], order)
    found = features(torch.tensor(rows, dtype=torch.float64))
    assert found.shape == (len(rows), features.size) == (len(rows), (order + 1) ** 2)
    for row, (x, y) in zip(found, rows, strict=True):
        scaled = ((x + 1) / 2, (y - 2) / 2)
        expected = [
            math.cos(math.pi * (a * scaled[0] + b * scaled[1]))
            for a, b in itertools.product(range(order + 1), repeat=2)
        ]
        np.testing.assert_allclose(row, expected, atol=1e-12)
        np.testing.assert_allclose(features.row(np.array([x, y])), expected, atol=1e-12)
    single = FourierFeatures([-1.0, 2.0], [1.0, 4.0], order, coupled=False)
    alone = single(torch.tensor(rows, dtype=torch.float64))
    assert alone.shape == (len(rows), 2 * order)
    assert alone[0, 0] == pytest.approx(math.cos(math.pi * (rows[0][0] + 1) / 2))
    np.testing.assert_allclose(single.row(np.array(rows[0])), alone[0], atol=1e-12)


@given(places, st.integers(1, 5), st.integers(1, 4))
def test_tile_coding_has_one_tile_a_tiling_and_sees_what_is_close(rows, tiles, tilings):
    code = TileCoding([-1.0, 2.0], [1.0, 4.0], tiles, tilings)
    found = code(torch.tensor(rows, dtype=torch.float64))
    assert found.shape == (len(rows), code.size)
    np.testing.assert_allclose(found.sum(1), 1)
    by_tiling = found.reshape(len(rows), tilings, -1)
    assert ((by_tiling > 0).sum(-1) == 1).all()
    beyond = code(torch.tensor([[-9.0, 9.0]], dtype=torch.float64))
    assert torch.equal(beyond, code(torch.tensor([[-1.0, 4.0]], dtype=torch.float64)))
    assert TileCoding([0.0], [1.0], 2, 3, scaled=False)(torch.tensor([[0.5]], dtype=torch.float64)).sum() == 3


def test_one_hot_raw_and_random():
    assert OneHot(3)(torch.tensor([[2.0], [0.0]])).tolist() == [[0, 0, 1], [1, 0, 0]]
    with pytest.raises(ValueError, match="expected 0 to 2"):
        OneHot(3)(torch.tensor([[3.0]]))
    assert RawFeatures(2)(torch.ones(1, 2)).dtype == torch.float64
    one, two = RandomFeatures(3, 5, rng=1), RandomFeatures(3, 5, rng=1)
    rows = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.equal(one(rows), two(rows)) and one(rows).shape == (4, 5) and (one(rows) >= 0).all()


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FourierFeatures([0.0], [math.inf], 3), "expected finite bounds, low below high"),
        (lambda: FourierFeatures([1.0], [1.0], 3), "expected finite bounds"),
        (lambda: FourierFeatures([0.0], [1.0, 2.0], 3), "expected finite bounds"),
        (lambda: TileCoding([math.nan], [1.0], 3, 2), "expected finite bounds"),
        (lambda: FourierFeatures([0.0] * 17, [1.0] * 17, 3), "use coupled=False"),
        (lambda: FourierFeatures([0.0], [1.0], 0), "order is 0"),
        (lambda: TileCoding([0.0], [1.0], 0, 1), "tiles is 0"),
        (lambda: OneHot(0), "n is 0"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
