"""One call for all formats, and npz files that are not to be trusted."""

import io
import zipfile

import numpy as np
import pytest

from environments.offline.formats.array_files import npz_columns, write_npz
from environments.offline.formats.d4rl import write_d4rl
from environments.offline.formats.neorl import write_neorl
from environments.offline.formats.neorl2 import write_neorl2
from environments.offline.formats.repairs import Repairs
from environments.offline.formats.revive import write_revive
from environments.offline.loading import format_of, load
from tests.environments.offline.tables import assert_same, make_table

TABLE = make_table([3, 2], ["terminal", "timeout"])


@pytest.mark.parametrize(
    ("write", "name", "options"),
    [
        (write_d4rl, "a.hdf5", {}),
        (write_d4rl, "a.h5", {}),
        (write_neorl, "neorl.npz", {}),
        (write_neorl2, "neorl2.npz", {}),
        (write_revive, "revive.npz", {"terminals": "done"}),
    ],
)
def test_the_format_is_told_from_the_file(tmp_path, write, name, options):
    if write is write_d4rl:
        pytest.importorskip("h5py")
    write(tmp_path / name, TABLE)
    assert_same(load(str(tmp_path / name), **options).table, TABLE)
    told = format_of(tmp_path / name)
    assert told == write.__name__.removeprefix("write_")
    assert_same(load(tmp_path / name, file_format=told, **options).table, TABLE)


def test_options_reach_the_reader(tmp_path):
    write_neorl(tmp_path / "a.npz", TABLE)
    assert_same(load(tmp_path / "a.npz", trajectories=1).table, TABLE.episodes([0]))
    assert load(tmp_path / "a.npz", repairs=Repairs(time_limit=3)).report.timed_out == 1


def test_a_registered_name():
    loaded = load("neorl2/SafetyHalfCheetah-val")
    assert len(loaded.table) == 2000 and loaded.report.source.endswith("SafetyHalfCheetah-high-20000-val.npz")


def test_a_folder_is_minaris(tmp_path):
    pytest.importorskip("minari")
    from environments.offline.formats.minari_format import write_minari

    write_minari(tmp_path / "set", TABLE)
    assert format_of(tmp_path / "set") == "minari"
    assert_same(load(tmp_path / "set").table, TABLE)


def test_what_cannot_be_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent.npz: no such file"):
        load(str(tmp_path / "absent.npz"))
    with pytest.raises(FileNotFoundError, match="absent: no such file"):
        load(tmp_path / "absent")
    (tmp_path / "a.txt").write_text("observations")
    with pytest.raises(ValueError, match=r"a.txt: neither HDF5 \(.hdf5, .h5\), nor npz, nor a folder"):
        load(tmp_path / "a.txt")
    np.savez(tmp_path / "b.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match=r"b.npz: its arrays \(x\) are of none of the formats"):
        load(tmp_path / "b.npz")
    with pytest.raises(ValueError, match="file_format is 'csv', expected one of 'd4rl', 'minari', 'neorl'"):
        load(tmp_path / "b.npz", file_format="csv")


def test_npz_columns(tmp_path):
    write_npz(tmp_path / "a.npz", {"x": np.arange(3), "y": np.zeros((2, 2)), "z": np.ones(1)})
    columns, unused = npz_columns(tmp_path / "a.npz", ["x"], ["z", "w"])
    assert columns["x"].tolist() == [0, 1, 2] and columns["z"].tolist() == [1]
    assert set(columns) == {"x", "z"} and unused == ("y",)


def zipped(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)


def npy(array, **options):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


def header(shape, dtype="<f4"):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


GOOD = npy(np.zeros(3, dtype=np.float32))
UNTRUSTED = {
    "empty": ([], "no 'x'; the file holds nothing"),
    "missing": ([("y.npy", GOOD)], "no 'x'; the file holds y"),
    "twice": ([("x.npy", GOOD), ("x.npy", GOOD)], "'x' is there twice"),
    "twice by another name": ([("x.npy", GOOD), ("x", GOOD)], "'x' is there twice"),
    "pickle": ([("x.npy", npy(np.array([{}, None]), allow_pickle=True))], "'x' holds Python objects"),
    "text": ([("x.npy", npy(np.array(["a"])))], "'x' holds <U1, expected real numbers"),
    "records": ([("x.npy", npy(np.zeros(2, "f4,f4")))], "'x' holds .*, expected real numbers"),
    "no array": ([("x.npy", b"pickle me")], "'x' is not a readable array"),
    "nothing": ([("x.npy", b"")], "'x' is not a readable array"),
    "long header": ([("x.npy", b"\x93NUMPY\x01\x00\xff\xff" + b" " * 65535)], "'x' is not a readable array"),
    "code": (
        [("x.npy", b"\x93NUMPY\x01\x00\x20\x00" + b"__import__('os').getcwd()".ljust(32))],
        "not a readable array",
    ),
    "version": ([("x.npy", b"\x93NUMPY\x09\x00" + GOOD[8:])], "'x' is not a readable array"),
    "claims more": (
        [("x.npy", header((10**12,)) + bytes(12))],
        r"header says \(1000000000000,\) of float32, which is no",
    ),
    "claims less": ([("x.npy", header((2,)) + bytes(12))], r"header says \(2,\) of float32, which is not what follows"),
    "negative": ([("x.npy", header((-3, -1)) + bytes(12))], "'x' is not a readable array"),
}


@pytest.mark.parametrize("name", UNTRUSTED)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_untrusted_npz_file_is_refused(tmp_path, name):
    members, message = UNTRUSTED[name]
    zipped(tmp_path / "a.npz", members)
    with pytest.raises(ValueError, match=message) as raised:
        npz_columns(tmp_path / "a.npz", ["x"])
    assert str(tmp_path / "a.npz") in str(raised.value)


def test_a_small_file_of_a_large_array_is_refused_unread(tmp_path):
    zeros = np.zeros(20_000_000, dtype=np.float32)
    zipped(tmp_path / "a.npz", [("x.npy", npy(zeros))], zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"its arrays take 80,000,128 bytes, the file .* expected at most 67,108,864"):
        npz_columns(tmp_path / "a.npz", ["x"])
    assert npz_columns(tmp_path / "a.npz", ["x"], max_bytes=10**8)[0]["x"].shape == zeros.shape


def test_no_npz_file(tmp_path):
    path = tmp_path / "a.npz"
    for content in (b"", b"PK\x03\x04", b"text" * 100, GOOD):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a.npz: not a readable npz file"):
            npz_columns(path, ["x"])


def test_a_damaged_member(tmp_path):
    path = tmp_path / "a.npz"
    write_npz(path, {"x": np.random.default_rng(0).random(1000)})
    content = bytearray(path.read_bytes())
    content[4000] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a.npz: (not a readable npz file|'x' is not a readable array)"):
        npz_columns(path, ["x"])
