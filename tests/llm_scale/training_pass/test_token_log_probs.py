import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_scale.training_pass.token_log_probs import chosen_log_probs


def tensors(rows=5, targets=9, width=4, vocabulary=11, dtype=torch.float64, seed=0, gradients=True):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(rows, width, generator=generator, dtype=dtype, requires_grad=gradients)
    weight = torch.randn(vocabulary, width, generator=generator, dtype=dtype, requires_grad=gradients)
    tokens = torch.randint(vocabulary, (targets,), generator=generator)
    return hidden, weight, tokens, torch.randint(rows, (targets,), generator=generator)


def plain(hidden, weight, targets, rows, temperature):
    """All logits at once, by the library's own functions."""
    log_probs = (hidden @ weight.T / temperature).log_softmax(-1)[rows]
    return log_probs.gather(1, targets[:, None])[:, 0], -(log_probs.exp() * log_probs).sum(-1)


def test_hand_computed_choice_of_two():
    hidden, weight = torch.tensor([[1.0]]), torch.tensor([[math.log(3.0)], [0.0]])
    log_probs, entropies = chosen_log_probs(hidden, weight, torch.tensor([1]))
    assert log_probs.item() == pytest.approx(math.log(0.25))
    assert entropies.item() == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    hot, _ = chosen_log_probs(hidden, weight, torch.tensor([0]), temperature=0.5)
    assert hot.item() == pytest.approx(math.log(0.9))  # odds of 3 become 9


@settings(max_examples=60)
@given(
    st.integers(1, 6), st.integers(0, 9), st.integers(1, 12), st.integers(1, 7), st.floats(0.2, 3), st.integers(0, 99)
)
def test_values_and_gradients_are_those_of_the_whole_softmax(rows, targets, vocabulary, chunk, temperature, seed):
    hidden, weight, tokens, row = tensors(rows, targets, vocabulary=vocabulary, seed=seed)
    upstream = torch.randn(targets, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected = plain(hidden, weight, tokens, row, temperature)
    gradients = torch.autograd.grad(expected[0] @ upstream, [hidden, weight])
    found = chosen_log_probs(hidden, weight, tokens, rows=row, temperature=temperature, chunk=chunk)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    found_gradients = torch.autograd.grad(found[0] @ upstream, [hidden, weight])
    for one, other in zip(found_gradients, gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("chunk", [1, 2, None])
def test_finite_differences_agree(chunk):
    hidden, weight, tokens, rows = tensors()
    assert torch.autograd.gradcheck(
        lambda h, w: chosen_log_probs(h, w, tokens, rows=rows, temperature=0.7, chunk=chunk)[0], (hidden, weight)
    )


def test_single_precision_is_exact_to_a_hundred_thousandth():
    exact = tensors(64, 64, width=32, vocabulary=500)
    found = []
    for dtype in (torch.float32, torch.float64):
        hidden, weight = (tensor.detach().to(dtype).requires_grad_() for tensor in exact[:2])
        log_probs, entropies = chosen_log_probs(hidden, weight, exact[2], chunk=7)
        log_probs.mean().backward()
        found.append([part.double() for part in (log_probs, entropies, hidden.grad, weight.grad)])
    for single, double in zip(*found, strict=True):
        torch.testing.assert_close(single, double, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("trained", ["hidden", "weight"])
def test_each_gradient_can_be_had_alone(trained):
    hidden, weight, tokens, rows = tensors()
    leaves = {"hidden": hidden, "weight": weight}
    expected = torch.autograd.grad(plain(hidden, weight, tokens, rows, 0.5)[0].sum(), leaves[trained])[0]
    frozen = {name: leaf if name == trained else leaf.detach() for name, leaf in leaves.items()}
    log_probs, _ = chosen_log_probs(**frozen, targets=tokens, rows=rows, temperature=0.5, chunk=2)
    torch.testing.assert_close(torch.autograd.grad(log_probs.sum(), leaves[trained])[0], expected)


def test_entropies_carry_no_gradient_and_do_not_disturb_the_other():
    hidden, weight, tokens, rows = tensors()
    log_probs, entropies = chosen_log_probs(hidden, weight, tokens, rows=rows)
    assert log_probs.requires_grad and not entropies.requires_grad


def test_large_logits_neither_overflow_nor_turn_to_nan():
    hidden = torch.tensor([[1e4], [-1e4]], requires_grad=True)
    log_probs, entropies = chosen_log_probs(hidden, torch.tensor([[1.0], [0.0]]), torch.tensor([0, 0]))
    assert log_probs.tolist() == [0.0, -1e4] and entropies.tolist() == [0.0, 0.0]
    log_probs.sum().backward()
    assert torch.isfinite(hidden.grad).all()


def test_a_forbidden_token_has_no_share():
    hidden, weight = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 0.0], [-math.inf, 0.0]])
    log_probs, entropies = chosen_log_probs(hidden, weight, torch.tensor([0]))
    assert log_probs.item() == pytest.approx(-math.log(2)) and entropies.item() == pytest.approx(math.log(2))


def test_no_tensor_is_as_large_as_all_logits():
    hidden, weight, tokens, _ = tensors(64, 64, vocabulary=1000, dtype=torch.float32)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor.numel()) or tensor, lambda t: t):
        log_probs, _ = chosen_log_probs(hidden, weight, tokens, chunk=4)
    largest = Largest()
    with largest:
        chosen_log_probs(hidden, weight, tokens, chunk=4)
        log_probs.sum().backward()
    assert max(saved) <= weight.numel()
    assert largest.elements <= weight.numel() == 4 * 1000


class Largest(torch.utils._python_dispatch.TorchDispatchMode):
    """Notes the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_half_precision_is_summed_in_single():
    hidden, weight, tokens, _ = tensors(8, 8, dtype=torch.bfloat16)
    log_probs, entropies = chosen_log_probs(hidden, weight, tokens, chunk=3)
    assert log_probs.dtype == entropies.dtype == torch.float32
    expected = plain(hidden.double(), weight.double(), tokens, torch.arange(8), 1.0)[0]
    torch.testing.assert_close(log_probs.double(), expected, rtol=0.02, atol=0.05)
    log_probs.sum().backward()
    assert hidden.grad.dtype == weight.grad.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": torch.tensor([0, 11, 2, 3, 4])}, r"targets\[1\] is 11, expected 0 to 10"),
        ({"targets": torch.tensor([0, 1, 2, -100, 4])}, r"targets\[3\] is -100, expected 0 to 10"),
        ({"targets": torch.tensor([0, 1])}, r"targets has shape \(2,\), expected \(5,\)"),
        ({"rows": torch.tensor([0, 1, 2, 3, 5])}, r"rows\[4\] is 5, expected 0 to 4"),
        ({"temperature": 0.0}, r"temperature is 0.0, expected a number above 0"),
        ({"temperature": math.nan}, r"temperature is nan"),
        ({"chunk": 0}, r"chunk is 0, expected at least 1"),
        ({"weight": torch.zeros(11, 3)}, r"hidden \(5, 4\) and weight \(11, 3\)"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    hidden, weight, _, _ = tensors()
    arguments = {"hidden": hidden, "weight": weight, "targets": torch.arange(5)} | changes
    with pytest.raises(ValueError, match=message):
        chosen_log_probs(**arguments)
