import json
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from rewardlab.dynamics.ensemble import GaussianEnsemble
from rewardlab.dynamics.ensemble_files import load_ensemble, save_ensemble


def made(**settings):
    settings = {"members": 3, "elites": 2, "hidden": (4, 5), **settings}
    ensemble = GaussianEnsemble(2, 1, **settings, generator=torch.Generator().manual_seed(0))
    ensemble.input_scaler.fit(torch.randn(9, 3))
    ensemble.elite_indices.copy_(torch.tensor([2, 0]))
    ensemble.calibration.copy_(torch.tensor([1.5, 0.5, 2.0]))
    return ensemble


def parts(**settings):
    """Tensors and metadata as they are in a file, to be spoiled."""
    ensemble = made(**settings)
    tensors = {name: value.detach().clone() for name, value in ensemble.state_dict().items()}
    names = ("observation_size", "action_size", "members", "elites", "hidden", "activation")
    return tensors, {name: getattr(ensemble, name) for name in names}


def write(path, tensors, settings, kind="rewardlab gaussian ensemble", version="1"):
    text = settings if isinstance(settings, str) else json.dumps(settings)
    save_file(tensors, path, metadata={"kind": kind, "version": version, "settings": text})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("hidden", [(4, 5), ()])
def test_what_was_saved_comes_back_bit_for_bit(dtype, hidden, tmp_path):
    ensemble = made(hidden=hidden, activation="tanh").to(dtype)
    save_ensemble(tmp_path / "model.safetensors", ensemble)
    loaded = load_ensemble(tmp_path / "model.safetensors")
    assert list(ensemble.state_dict()) == list(loaded.state_dict())
    for name, value in ensemble.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]) and value.dtype == loaded.state_dict()[name].dtype
    assert (loaded.hidden, loaded.activation, loaded.members) == (hidden, "tanh", 3)
    observations, actions = torch.randn(4, 2, dtype=dtype), torch.randn(4, 1, dtype=dtype)
    for ours, theirs in zip(ensemble(observations, actions), loaded(observations, actions), strict=True):
        assert torch.equal(ours, theirs) and not theirs.requires_grad
    assert os.listdir(tmp_path) == ["model.safetensors"]


def test_a_file_as_the_tests_write_it_is_loaded(tmp_path):
    write(tmp_path / "model.safetensors", *parts())
    assert load_ensemble(tmp_path / "model.safetensors").members == 3


def test_files_of_other_kinds(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(FileNotFoundError, match=r"there is no file .*model\.safetensors"):
        load_ensemble(path)
    tensors, settings = parts()
    for content in (b"", b"text", pickle.dumps({"weights": [1.0]})):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"model\.safetensors is no safetensors file"):
            load_ensemble(path)
    torch.save(tensors, path)
    with pytest.raises(ValueError, match="is no safetensors file"):
        load_ensemble(path)
    save_file(tensors, path)
    with pytest.raises(
        ValueError, match="holds None, version None; expected 'rewardlab gaussian ensemble', version '1'"
    ):
        load_ensemble(path)
    write(path, tensors, settings, kind="rewardlab dynamics reward")
    with pytest.raises(ValueError, match="holds 'rewardlab dynamics reward', version '1'"):
        load_ensemble(path)
    write(path, tensors, settings, version="2")
    with pytest.raises(ValueError, match="version '2'; expected"):
        load_ensemble(path)
    write(path, tensors, settings)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match="is no safetensors file"):
        load_ensemble(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": 0}, "members is 0"),
        ({"members": "7"}, "members: expected a whole number, got str"),
        ({"elites": 4}, r"elites is 4, expected a whole number in \[1, 3\]"),
        ({"hidden": 4}, "hidden is 4, expected a list"),
        ({"hidden": [4, -5]}, r"hidden\[1\] is -5"),
        ({"activation": "__import__"}, "activation is '__import__', expected one of"),
        ({"surplus": 1}, "has the settings"),
        ({"hidden": [4, 10**9]}, r"weights.1 has shape \(3, 4, 5\), expected \(3, 4, 1000000000\)"),
        ({"hidden": [4]}, "has a tensor biases.2, which an ensemble of its settings has not"),
        ({"observation_size": 3}, "has shape"),
    ],
)
def test_settings_that_are_wrong(change, message, tmp_path):
    tensors, settings = parts()
    write(tmp_path / "model.safetensors", tensors, {**settings, **change})
    with pytest.raises(ValueError, match=message) as caught:
        load_ensemble(tmp_path / "model.safetensors")
    assert "model.safetensors" in str(caught.value)


@pytest.mark.parametrize("text", ["", "[", "[]", "7", "{}"])
def test_settings_that_are_none(text, tmp_path):
    tensors, _ = parts()
    write(tmp_path / "model.safetensors", tensors, text)
    with pytest.raises(ValueError, match=r"has settings that are no JSON|has the settings"):
        load_ensemble(tmp_path / "model.safetensors")


def spoiled(name, change):
    return lambda tensors: tensors.update({name: change(tensors[name])})


def put(value):
    def change(tensor):
        tensor.view(-1)[-1] = value
        return tensor

    return change


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda tensors: tensors.pop("weights.1"), "has no tensor weights.1"),
        (lambda tensors: tensors.pop("calibration"), "has no tensor calibration"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "has a tensor extra"),
        (spoiled("weights.1", lambda t: t.mT.contiguous()), r"weights.1 has shape \(3, 5, 4\), expected \(3, 4, 5\)"),
        (spoiled("weights.1", put(torch.nan)), r"weights.1\[2, 3, 4\] is nan, expected a finite number"),
        (spoiled("biases.0", put(torch.inf)), r"biases.0\[2, 0, 3\] is inf"),
        (spoiled("weights.0", lambda t: t.double()), "weights.0 has dtype torch.float64, expected torch.float32"),
        (spoiled("elite_indices", lambda t: t.float()), "elite_indices has dtype torch.float32, expected torch.int64"),
        (spoiled("calibration", lambda t: t.half()), "has dtype torch.float32, expected torch.float16"),
        (spoiled("elite_indices", put(3)), r"elite_indices is \[2, 3\], expected different members from 0 to 2"),
        (spoiled("elite_indices", put(-1)), r"elite_indices is \[2, -1\]"),
        (spoiled("elite_indices", put(2)), r"elite_indices is \[2, 2\]"),
        (spoiled("calibration", put(0.0)), "calibration has a number that is not above 0"),
        (spoiled("input_scaler.standard_deviation", put(-1.0)), "standard_deviation has a number that is not above 0"),
    ],
)
def test_tensors_that_are_wrong(spoil, message, tmp_path):
    tensors, settings = parts()
    spoil(tensors)
    write(tmp_path / "model.safetensors", tensors, settings)
    with pytest.raises(ValueError, match=message) as caught:
        load_ensemble(tmp_path / "model.safetensors")
    assert "model.safetensors" in str(caught.value)


def test_weights_that_could_not_be_loaded_are_not_saved(tmp_path):
    ensemble = made().requires_grad_(False)
    ensemble.weights[1][0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"weights.1\[0, 0, 0\] is nan"):
        save_ensemble(tmp_path / "model.safetensors", ensemble)
    assert not os.listdir(tmp_path)


def test_an_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_ensemble(path, made())
    before = path.read_bytes()

    def half(tensors, part, metadata):
        part.write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr("rewardlab.dynamics.ensemble_files.save_file", half)
    with pytest.raises(KeyboardInterrupt):
        save_ensemble(path, made(activation="relu"))
    assert path.read_bytes() == before
