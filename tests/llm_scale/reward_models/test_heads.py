import json

import pytest
import torch
from safetensors.torch import save_file

from llm_scale.reward_models.heads import RewardHead


def head(hidden=0, link="identity", members=3, width=4):
    g = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    inner = (draw(members, hidden, width), draw(members, hidden)) if hidden else ()
    weight = draw(members, hidden or width)
    return RewardHead(draw(width), draw(width).abs() + 0.1, weight, draw(members), *inner, link=link, facts={"rows": 7})


@pytest.mark.parametrize("hidden", [0, 5])
@pytest.mark.parametrize("link", ["identity", "probability"])
def test_scores_are_each_members_own(hidden, link):
    ensemble, features = head(hidden, link), torch.randn(2, 6, 4, dtype=torch.float64)
    scores = ensemble.score(features)
    assert scores.shape == (3, 2, 6) and ensemble.members == 3 and ensemble.width == 4 and ensemble.hidden == hidden
    for m in range(3):
        inputs = (features - ensemble.centre) / ensemble.scale
        if hidden:
            within = inputs @ ensemble.hidden_weight[m].T + ensemble.hidden_bias[m]
            inputs = within * torch.sigmoid(within)
        expected = inputs @ ensemble.weight[m] + ensemble.bias[m]
        expected = torch.sigmoid(expected) if link == "probability" else expected
        torch.testing.assert_close(scores[m], expected)
        torch.testing.assert_close(ensemble.member(m).score(features)[0], expected)
    torch.testing.assert_close(ensemble.member(-1).weight, ensemble.weight[2:])


def test_one_vector_has_one_score_a_member():
    assert head().score(torch.zeros(4)).shape == (3,)


@pytest.mark.parametrize("hidden", [0, 5])
def test_saved_and_loaded_is_the_same_head(hidden, tmp_path):
    ensemble, features = head(hidden, "probability"), torch.randn(9, 4)
    ensemble.save(tmp_path / "head.safetensors")
    loaded = RewardHead.load(tmp_path / "head.safetensors")
    assert torch.equal(loaded.score(features), ensemble.score(features))
    assert loaded.link == "probability" and loaded.facts == {"rows": 7} and loaded.hidden == hidden
    assert [path.name for path in tmp_path.iterdir()] == ["head.safetensors"]


def test_nothing_in_a_head_is_trained():
    assert not list(head(5).parameters()) and not head(5).score(torch.zeros(1, 4)).requires_grad


def test_gradients_reach_the_features():
    features = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    ensemble = head()
    ensemble.score(features)[1].sum().backward()
    torch.testing.assert_close(features.grad[0], ensemble.weight[1] / ensemble.scale)


def test_a_kill_while_writing_leaves_the_old_head(tmp_path, monkeypatch):
    path = tmp_path / "head.safetensors"
    head().save(path)
    before = path.read_bytes()

    def half(tensors, part, metadata):
        part.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("llm_scale.reward_models.heads.save_file", half)
    with pytest.raises(KeyboardInterrupt):
        head(5).save(path)
    assert path.read_bytes() == before


def written(path, **changes):
    metadata = {"format": "rewardlab reward head 1", "link": "identity", "facts": "{}"} | changes.pop("metadata", {})
    tensors = {"centre": torch.zeros(2), "scale": torch.ones(2), "weight": torch.ones(1, 2), "bias": torch.zeros(1)}
    save_file(tensors | changes, path, metadata)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metadata": {"format": "other"}}, "holds 'other', expected 'rewardlab reward head 1'"),
        ({"metadata": {"link": "exp"}}, "link is 'exp'"),
        ({"weight": torch.ones(1, 3)}, r"weight has shape \(1, 3\), expected \(1, 2\)"),
        ({"scale": torch.zeros(2)}, "scale holds a number that is not above 0"),
        ({"bias": torch.tensor([float("inf")])}, "bias holds a number that is not finite"),
        ({"metadata": {"facts": "{"}}, "is damaged"),
        ({"more": torch.ones(1)}, "is damaged"),
    ],
)
def test_damaged_files_are_refused(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        RewardHead.load(written(tmp_path / "head.safetensors", **changes))


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "head.safetensors"
    with pytest.raises(FileNotFoundError, match=r"head\.safetensors does not exist"):
        RewardHead.load(path)
    path.write_text(json.dumps({"weight": 1}))
    with pytest.raises(ValueError, match="is no safetensors file"):
        RewardHead.load(path)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.zeros(2, 3), r"features has shape \(2, 3\), expected \(\*batch, 4\)"),
        (torch.tensor(1.0), r"features has shape \(\), expected"),
        (torch.tensor([[0.0] * 4, [0.0, float("nan"), 0, 0]]), r"features\[1\] holds a number that is not finite"),
    ],
)
def test_bad_features_say_where(features, message):
    with pytest.raises(ValueError, match=message):
        head().score(features)
