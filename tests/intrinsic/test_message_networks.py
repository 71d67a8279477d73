import numpy as np
import pytest
import torch

from rewardlab.intrinsic.byte_network import ByteNetwork, SeededDropout
from rewardlab.intrinsic.hashed_linear import HashedLinear

TEXTS = ["You kill the newt!", "It's a wall.", "", "a" * 256]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_byte_network_is_the_published_one_layer_by_layer():
    network = ByteNetwork(outputs=2, generator=seeded())
    lengths = []
    for layer in network.convolutions:
        layer.register_forward_hook(lambda layer, _, out: lengths.append((type(layer).__name__, *out.shape[1:])))
    network(network.encode(["It is dark."]))
    changes = [shape for kind, *shape in lengths if kind != "ReLU"]
    assert changes == [[64, n] for n in (250, 83, 77, 25, 23, 21, 19, 17, 5)]
    assert [kind for kind, *_ in lengths].count("ReLU") == 6
    linear = [(layer.in_features, layer.out_features) for layer in network.modules() if hasattr(layer, "in_features")]
    assert linear == [(320, 128), (128, 512), (512, 512), (512, 2)]
    numbers = 256 * 32 + (32 * 64 * 7 + 64) + (64 * 64 * 7 + 64) + 4 * (64 * 64 * 3 + 64)
    numbers += 320 * 128 + 128 + 128 * 512 + 512 + 512 * 512 + 512 + 512 * 2 + 2
    assert sum(value.numel() for value in network.parameters()) == numbers == 471_554
    assert sum(value.numel() for value in ByteNetwork(outputs=1, generator=seeded()).parameters()) == 471_041


def by_hand(network, text):
    """Scores with loops in NumPy in place of torch's layers."""
    weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    hidden = weights["embedding.weight"][np.frombuffer(text.encode("latin-1").ljust(256, b"\0"), np.uint8)]
    for place, pooled in ((0, 3), (3, 3), (6, 1), (8, 1), (10, 1), (12, 3)):
        kernel, bias = weights[f"convolutions.{place}.weight"], weights[f"convolutions.{place}.bias"]
        windows = np.lib.stride_tricks.sliding_window_view(hidden, kernel.shape[2], axis=0)
        hidden = np.maximum(np.einsum("lcw,kcw->lk", windows, kernel) + bias, 0)
        length = len(hidden) // pooled
        hidden = hidden[: length * pooled].reshape(length, pooled, -1).max(1)
    hidden = hidden.T.ravel()
    for place in (0, 2, 4):
        hidden = np.maximum(weights[f"hidden.{place}.weight"] @ hidden + weights[f"hidden.{place}.bias"], 0)
    return weights["last.weight"] @ hidden + weights["last.bias"]


def test_byte_network_agrees_with_loops_by_hand():
    network = ByteNetwork(outputs=2, generator=seeded(3)).double().eval()
    with torch.no_grad():
        scores = network(network.encode(TEXTS)).numpy()
    np.testing.assert_allclose(scores, [by_hand(network, text) for text in TEXTS], rtol=0, atol=1e-12)


def test_padding_is_zero_and_stays_zero():
    network = ByteNetwork(outputs=1, generator=seeded())
    network(network.encode(TEXTS)).sum().backward()
    gradient = network.embedding.weight.grad
    assert (network.embedding.weight[0] == 0).all() and (gradient[0] == 0).all() and gradient[ord("k")].any()
    assert network.embedding.weight[1:].std().item() == pytest.approx(1, abs=0.05)


def test_weights_and_dropout_come_from_the_generator_only():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, same, other = (ByteNetwork(outputs=1, generator=seeded(seed)) for seed in (0, 0, 1))
    rows = one.encode(TEXTS)
    for network in (one, same, other):
        network.train()
    dropped, again = one(rows), same(rows)
    assert torch.equal(dropped, again) and not torch.equal(dropped, other(rows))
    assert not torch.equal(one(rows), dropped), "another choice the second time"
    assert torch.equal(torch.get_rng_state(), before)
    one.eval()
    assert torch.equal(one(rows), one(rows))


def test_dropout_drops_its_share_and_keeps_the_mean():
    dropout = SeededDropout(0.1, seeded())
    out = dropout(torch.ones(100_000))
    assert (out == 0).float().mean().item() == pytest.approx(0.1, abs=0.004)
    assert out.mean().item() == pytest.approx(1, abs=0.004) and out.max().item() == pytest.approx(1 / 0.9)
    assert ByteNetwork(outputs=1, generator=seeded()).dropout.share == 0.1


def test_hashed_linear_sums_weights_over_the_root_of_their_number():
    network = HashedLinear(outputs=2).double()
    assert (network(network.encode(TEXTS)) == 0).all() and sum(v.numel() for v in network.parameters()) == 4098
    with torch.no_grad():
        network.weight.normal_(generator=seeded())
        network.bias.copy_(torch.tensor([0.5, -1.0]))
    rows = network.encode(TEXTS)
    expected = [network.weight[row].sum(0) / len(row) ** 0.5 + network.bias for row in rows]
    torch.testing.assert_close(network(rows), torch.stack(expected))


@pytest.mark.parametrize("make", [lambda: HashedLinear(outputs=2), lambda: ByteNetwork(outputs=2, generator=seeded())])
def test_no_messages_and_wrong_numbers(make):
    assert make()([]).shape == (0, 2)
    with pytest.raises(ValueError, match="outputs is 0"):
        HashedLinear(outputs=0)
    with pytest.raises(ValueError, match="dropout is 1"):
        ByteNetwork(outputs=1, generator=seeded(), dropout=1.0)
