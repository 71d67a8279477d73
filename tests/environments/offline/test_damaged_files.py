"""What a careless tool or a bad disk makes of a file: an error that names it, of the kind that is promised."""

import re

import h5py
import numpy as np
import pytest

from environments.offline.formats.d4rl import read_d4rl
from environments.offline.formats.neorl import read_neorl
from environments.offline.formats.revive import read_revive
from environments.offline.loading import load


def neorl_columns(rows=12, **changed):
    flat = np.zeros((rows, 2), dtype=np.float32)
    columns = {"obs": flat, "action": flat, "next_obs": flat, "reward": flat[:, 0], "done": flat[:, 0]}
    return {**columns, "index": np.array([0, 4, 7]), **changed}


def test_a_zip_with_a_damaged_directory(tmp_path):
    path = tmp_path / "damaged.npz"
    np.savez(path, **neorl_columns())
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged.npz: not a readable npz file \(BadZipFile"):
        load(path)


def test_hdf5_names_that_are_no_text(tmp_path):
    path = tmp_path / "names.hdf5"
    with h5py.File(path, "w") as file:
        file.create_dataset("observations", data=np.zeros((3, 2)))
    path.write_bytes(path.read_bytes().replace(b"observations", b"observ\xfftions"))
    with pytest.raises(ValueError, match=r"names.hdf5: no 'observations'"):
        read_d4rl(path)


@pytest.mark.parametrize(
    ("changed", "options", "message"),
    [
        ({"done": np.zeros(5)}, {}, "done 5"),
        ({"done": np.zeros(())}, {}, "done"),
        ({"obs": np.zeros(())}, {"trajectories": 1}, "obs"),
        ({"index": np.array([0, 4, 2**63], dtype=np.uint64)}, {}, r"index goes from 0 to 9223372036854775808"),
    ],
)
def test_neorl_columns_of_other_lengths(tmp_path, changed, options, message):
    path = tmp_path / "neorl.npz"
    np.savez(path, **neorl_columns(**changed))
    with pytest.raises(ValueError, match=message) as caught:
        read_neorl(path, **options)
    assert re.search("neorl.npz", str(caught.value))


def test_revive_without_a_node(tmp_path):
    with pytest.raises(ValueError, match="observations names no node"):
        read_revive(tmp_path / "any.npz", observations=(), actions=("action",))
