import json

import pytest
import torch
from safetensors.torch import load_file, safe_open, save_file

from rewardlab.dynamics.reward_files import load_dynamics_reward, save_dynamics_reward
from tests.dynamics.discriminators import reward_of, rows_of, table_of


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("transition_input", ["difference", "standardised_difference", "next_observation"])
def test_comes_back_bit_for_bit(tmp_path, dtype, transition_input):
    arguments = {"rescale": "stored", "probability_clip": 0.95, "facts": {"rows_left_out": 3}}
    reward = reward_of(3, dtype=dtype, transition_input=transition_input, factor_size=2, arguments=arguments)
    save_dynamics_reward(tmp_path / "reward.safetensors", reward)
    again = load_dynamics_reward(tmp_path / "reward.safetensors")
    parts = rows_of(table_of(9), dtype)
    assert torch.equal(again(*parts), reward(*parts))
    for name in ("kind", "rescale", "probability_clip", "precision", "facts", "settings", "snapshots"):
        assert getattr(again, name) == getattr(reward, name)
    state = reward.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.state_dict().items())
    assert [path.name for path in tmp_path.iterdir()] == ["reward.safetensors"]


def saved(folder):
    path = folder / "reward.safetensors"
    save_dynamics_reward(path, reward_of(2))
    with safe_open(str(path), "pt") as file:
        return path, load_file(path), file.metadata()


def nan_in_the_end(tensors, metadata):
    tensors["bias_2"][0] = float("nan")


def other_settings(**changes):
    def damage(tensors, metadata):
        metadata["settings"] = json.dumps({**json.loads(metadata["settings"]), **changes})

    return damage


DAMAGES = {
    "another format": (lambda t, m: m.update(format="x"), "holds 'x', expected 'rewardlab dynamics reward 1'"),
    "no format": (lambda t, m: m.clear(), "holds None"),
    "no settings": (lambda t, m: m.pop("settings"), "it lacks 'settings'"),
    "settings that are a list": (lambda t, m: m.update(settings="[]"), "is damaged"),
    "broken JSON": (lambda t, m: m.update(facts="{"), "is damaged"),
    "a lost tensor": (lambda t, m: t.pop("weight_1"), "it lacks 'weight_1'"),
    "a lost end": (lambda t, m: t.pop("low"), "it lacks 'low'"),
    "another shape": (lambda t, m: t.update(weight_1=t["weight_1"][:1].clone()), "weight_1 is torch.float32 of shape"),
    "another type": (lambda t, m: t.update(high=t["high"].double()), "high is torch.float64"),
    "not finite": (nan_in_the_end, "bias_2 holds a number that is not finite"),
    "one tensor too many": (lambda t, m: t.update(extra=torch.zeros(1)), "it holds 'extra', which is no part"),
    "a layer of a billion": (other_settings(hidden=[10**9, 5]), "weight_0 is torch.float32 of shape"),
    "an unknown input": (other_settings(transition_input="delta"), "transition_input is 'delta'"),
    "a negative factor": (other_settings(factor_size=-1), "is damaged"),
    "ends the wrong way round": (lambda t, m: t.update(low=t["high"] + 1), r"high\[0\] is"),
    "no kind": (lambda t, m: m.update(reward=m["reward"].replace('"test"', '""')), "kind is ''"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_refuses_a_damaged_file(tmp_path, name, without_type_checks):
    damage, message = DAMAGES[name]
    path, tensors, metadata = saved(tmp_path)
    damage(tensors, metadata)
    save_file(tensors, path, metadata)
    with pytest.raises(ValueError, match=message) as caught:
        load_dynamics_reward(path)
    assert "reward.safetensors" in str(caught.value)


def test_refuses_what_is_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist, expected a dynamics reward"):
        load_dynamics_reward(tmp_path / "none")
    (tmp_path / "text").write_text("not a reward at all, but long enough for a header")
    with pytest.raises(ValueError, match="text is no safetensors file"):
        load_dynamics_reward(tmp_path / "text")
    path, _, _ = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match="is no safetensors file"):
        load_dynamics_reward(path)


def test_facts_that_json_cannot_hold_leave_the_old_file(tmp_path):
    path, _, _ = saved(tmp_path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_dynamics_reward(path, reward_of(2, arguments={"facts": {"a": object()}}))
    assert path.read_bytes() == before


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    path, _, _ = saved(tmp_path)
    before = path.read_bytes()

    def killed(part, whole):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_dynamics_reward(path, reward_of(3))
    assert path.read_bytes() == before
