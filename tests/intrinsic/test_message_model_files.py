import json

import pytest
import torch
from safetensors.torch import load_file, safe_open, save_file

from rewardlab.intrinsic.classification import ClassificationReward
from rewardlab.intrinsic.frozen_reward import FrozenReward
from rewardlab.intrinsic.hashed_linear import HashedLinear
from rewardlab.intrinsic.message_model_files import load_message_reward, save_message_reward
from rewardlab.intrinsic.ranking import RankingReward

TEXTS = ["You kill it.", "It's a wall.", "", "a", "gold", "You feel strong!"]
LABELS = [("You kill it.", 1), ("It's a wall.", 0), ("gold", 1)]
PREFERENCES = [(("It's a wall.", "You kill it."), 1), (("gold", "You kill it."), 2)]


def learned(kind, network, dtype):
    model = kind(network, generator=torch.Generator().manual_seed(0), steps=3, dtype=dtype)
    model.receive(LABELS if kind is ClassificationReward else PREFERENCES)
    model.requests(TEXTS)
    model.update()
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("network", ["hashed", "bytes"])
@pytest.mark.parametrize("kind", [ClassificationReward, RankingReward])
def test_comes_back_bit_for_bit(tmp_path, kind, network, dtype):
    model = learned(kind, network, dtype)
    path = tmp_path / "reward.safetensors"
    save_message_reward(path, model.frozen())
    again = load_message_reward(path)
    assert (again.rewards(TEXTS) == model.rewards(TEXTS)).all() and again.values(TEXTS).any()
    assert next(again.network.parameters()).dtype == dtype
    assert [file.name for file in tmp_path.iterdir()] == ["reward.safetensors"]
    frozen = again.rewards(TEXTS)
    model.receive(LABELS if kind is ClassificationReward else PREFERENCES)
    assert (again.rewards(TEXTS) == frozen).all()


def saved(folder):
    path = folder / "reward.safetensors"
    save_message_reward(path, learned(RankingReward, "hashed", torch.float32).frozen())
    with safe_open(str(path), "pt") as file:
        return path, load_file(path), file.metadata()


def settings(**changes):
    return lambda t, m: m.update(settings=json.dumps(json.loads(m["settings"]) | changes))


DAMAGES = {
    "another format": (lambda t, m: m.update(format="x"), "holds 'x', expected 'rewardlab message reward 1'"),
    "no format": (lambda t, m: m.clear(), "holds None"),
    "no settings": (lambda t, m: m.pop("settings"), "its settings are None"),
    "broken JSON": (lambda t, m: m.update(settings="{"), "is damaged"),
    "a setting lost": (lambda t, m: m.update(settings='{"form": "ranking"}'), "its settings lack 'network'"),
    "an unknown form": (settings(form="x"), "form is 'x'"),
    "another form": (settings(form="classification"), r"weight has shape \(2048, 1\), expected \(2048, 2\)"),
    "another network": (settings(network="bytes"), "it has no tensor convolutions"),
    "an unknown network": (settings(network="x"), "network is 'x'"),
    "no deviation": (settings(deviation=0), "deviation is 0"),
    "text for a number": (settings(mean="0"), "mean: expected a number, got str"),
    "nan": (settings(threshold=float("nan")), "threshold is nan"),
    "a tensor lost": (lambda t, m: t.pop("bias"), "it has no tensor bias"),
    "a tensor too many": (lambda t, m: t.update(extra=torch.zeros(1)), "it has a tensor extra"),
    "another shape": (lambda t, m: t.update(weight=t["weight"][:5].clone()), r"weight has shape \(5, 1\)"),
    "another type": (lambda t, m: t.update(bias=t["bias"].double()), "its tensors are torch.float32, torch.float64"),
    "whole numbers": (lambda t, m: t.update({k: v.int() for k, v in t.items()}), "its tensors are torch.int32"),
    "not finite": (lambda t, m: t["weight"].view(-1)[3:4].fill_(float("inf")), r"weight\[3, 0\] is inf"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_refuses_a_damaged_file(tmp_path, name, without_type_checks):
    damage, message = DAMAGES[name]
    path, tensors, metadata = saved(tmp_path)
    damage(tensors, metadata)
    save_file(tensors, path, metadata)
    with pytest.raises(ValueError, match=message) as caught:
        load_message_reward(path)
    assert "reward.safetensors" in str(caught.value)


def test_refuses_what_is_no_such_file_or_reward(tmp_path, without_type_checks):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_message_reward(tmp_path / "none")
    (tmp_path / "text").write_text("not a reward at all, but long enough for a header")
    with pytest.raises(ValueError, match="text is no safetensors file"):
        load_message_reward(tmp_path / "text")
    with pytest.raises(TypeError, match=r"reward is a HashedLinear, expected a FrozenReward; online models have"):
        save_message_reward(tmp_path / "x", HashedLinear(outputs=1))
    network = HashedLinear(outputs=1)
    network.bias.data[0] = float("nan")
    with pytest.raises(ValueError, match=r"bias\[0\] is nan, expected a finite number"):
        save_message_reward(tmp_path / "x", FrozenReward(network, form="ranking", threshold=0.0))
    assert not (tmp_path / "x").exists()
    with pytest.raises(ValueError, match="network gives 1 scores of a message, classification needs 2"):
        FrozenReward(HashedLinear(outputs=1), form="classification", threshold=0.5)
