import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardlab.shaping.sampled.ascent import Ascent

OPTIMISERS = {"rmsprop": torch.optim.RMSprop, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}


@settings(max_examples=50)
@given(st.integers(0, 2**16), st.sampled_from(list(OPTIMISERS)), st.sampled_from([0.0, 0.01, 1.0]))
def test_steps_are_those_of_torch(seed, kind, rate):
    generator = np.random.default_rng(seed)
    start = [torch.from_numpy(generator.normal(size=shape)) for shape in ((3, 2), (), (4,))]
    ours, theirs = ([torch.nn.Parameter(value.clone()) for value in start] for _ in range(2))
    ascent, optimiser = Ascent(kind, ours, rate), OPTIMISERS[kind](theirs, lr=rate, maximize=True)
    for step in range(8):
        gradients = [torch.from_numpy(generator.normal(size=tuple(value.shape))) for value in start]
        if step == 4:  # through a checkpoint
            state = ascent.state_dict()
            ascent = Ascent(kind, ours, rate)
            ascent.load_state_dict(state)
        ascent.step(gradients)
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient
        optimiser.step()
        for mine, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["sgd", "rmsprop"])
def test_a_step_is_the_gradient_times_the_rates_told_before(kind):
    generator = np.random.default_rng(0)
    place = [torch.zeros(3, 2, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)]
    ascent = Ascent(kind, place, 0.3)
    for _ in range(3):
        gradients = [torch.from_numpy(generator.normal(size=tuple(part.shape))) for part in place]
        rates, before = ascent.rates(gradients), [part.clone() for part in place]
        assert all(torch.equal(now, then) for now, then in zip(place, before, strict=True)) and len(rates) == 2
        ascent.step(gradients)
        for now, then, rate, gradient in zip(place, before, rates, gradients, strict=True):
            torch.testing.assert_close(now, then + rate * gradient, rtol=1e-12, atol=1e-14)


def test_adam_has_no_rates():
    with pytest.raises(ValueError, match="optimiser is 'adam', expected 'sgd' or 'rmsprop'"):
        Ascent("adam", [torch.zeros(2)], 0.1).rates([torch.ones(2)])


@pytest.mark.usefixtures("without_type_checks")
def test_bad_arguments():
    with pytest.raises(ValueError, match="optimiser is 'lion'"):
        Ascent("lion", [], 0.1)
    with pytest.raises(ValueError, match="rate is -1"):
        Ascent("sgd", [], -1.0)
