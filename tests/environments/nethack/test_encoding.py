import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.nethack.encoding import CLASS_OF_CHARACTER, CLASSES, COLUMNS, ROWS, Encoder

MONSTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ&';:~"
SINGLE = {".": "floor", "|": "wall", "-": "wall", "#": "corridor", "+": "door", ">": "stairs down"}
SINGLE |= {"<": "stairs up", "@": "human", "^": "trap", "`": "boulder", "0": "boulder", " ": "blank", "\0": "blank"}


def status(x=0, y=0, depth=1, hp=10, maximal_hp=10, turns=1, experience_level=1, dungeon=0, level=1, hunger=1):
    row = np.zeros(27, dtype=np.int64)
    row[[0, 1, 10, 11, 12, 18, 20, 21, 23, 24]] = (
        *(x, y, hp, maximal_hp, depth),
        *(experience_level, turns, hunger, dungeon, level),
    )
    return row


def shown(chars, rows):
    return {"chars": chars, "blstats": np.stack(rows)}


class SlowEncoder:
    """One game, cell by cell."""

    def __init__(self, actions, crop, with_visits):
        self.actions, self.reach, self.with_visits = actions, crop // 2, with_visits
        self.visits = {}

    def encode(self, chars, blstats, action, seen):
        x, y, level = blstats[0], blstats[1], (blstats[23], blstats[24])
        if seen:
            self.visits[level, x, y] = self.visits.get((level, x, y), 0) + 1
        around = range(-self.reach, self.reach + 1)
        cells = [(x + dx, y + dy) for dy in around for dx in around]
        row = []
        for cx, cy in cells:
            inside = 0 <= cx < COLUMNS and 0 <= cy < ROWS
            character = chr(chars[cy, cx]) if inside else " "
            name = "monster" if character in MONSTERS else SINGLE.get(character, "other")
            row += [float(name == each) for each in CLASSES]
        if self.with_visits:
            row += [min(self.visits.get((level, *cell), 0), 10) / 10 for cell in cells]
        row += [
            x / 79,
            y / 21,
            blstats[12] / 10,
            blstats[20] / 1000,
            blstats[18] / 10,
            blstats[23] / 10,
            blstats[21] / 6,
        ]
        row += [blstats[10] / max(blstats[11], 1)]
        return np.array(row + [float(action == each) for each in range(self.actions)], dtype=np.float32)


def test_sizes_of_the_parts():
    assert Encoder(1, 23).features == 9 * 9 * 12 + 9 * 9 + 8 + 23 == 1084
    assert Encoder(1, 23, with_visits=False).features == 1003
    assert Encoder(1, 8, crop=5).features == 25 * 12 + 25 + 8 + 8


def test_every_character_has_its_class():
    for code in range(256):
        character = chr(code)
        name = "monster" if character in MONSTERS else SINGLE.get(character, "other")
        assert CLASSES[CLASS_OF_CHARACTER[code]] == name, repr(character)


DRAWN = np.frombuffer(b" .|-#+><@^`0dZ;&$\0\xff", dtype=np.uint8)
maps = st.integers(0, 2**32).map(lambda seed: np.random.default_rng(seed).choice(DRAWN, (3, ROWS, COLUMNS)))
statuses = st.builds(
    status,
    x=st.sampled_from([0, 1, 3, 4, 40, 75, 78]),
    y=st.sampled_from([0, 1, 4, 10, 17, 20]),
    depth=st.integers(0, 50),
    hp=st.integers(0, 99),
    maximal_hp=st.integers(0, 99),
    turns=st.integers(0, 20_000),
    dungeon=st.integers(0, 2),
    level=st.integers(0, 3),
)
steps = st.tuples(
    maps,
    st.lists(statuses, min_size=3, max_size=3),
    st.lists(st.integers(-1, 4), min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.sets(st.integers(0, 2)),  # where episodes begin afterwards
)


@given(st.lists(steps, min_size=1, max_size=3), st.sampled_from([1, 3, 5]), st.booleans())
def test_agrees_with_a_loop_over_cells(played, crop, with_visits):
    encoder = Encoder(3, 5, crop=crop, with_visits=with_visits)
    slow = [SlowEncoder(5, crop, with_visits) for _ in range(3)]
    for chars, rows, actions, seen, beginning in played:
        encoded = encoder.encode(shown(chars, rows), np.array(actions), seen=np.array(seen))
        each = zip(slow, chars, rows, actions, seen, strict=True)
        np.testing.assert_array_equal(encoded, [one.encode(*given) for one, *given in each])
        if beginning:
            at = np.array(sorted(beginning))
            encoder.begin(at)
            for i in at:
                slow[i] = SlowEncoder(5, crop, with_visits)
            part = encoder.encode(shown(chars[at], [rows[i] for i in at]), np.full(len(at), -1), at)
            np.testing.assert_array_equal(part, [slow[i].encode(chars[i], rows[i], -1, True) for i in at])


def test_visits_are_counted_to_ten_and_kept_for_every_level():
    encoder, chars = Encoder(1, 23), np.full((1, ROWS, COLUMNS), 32, dtype=np.uint8)
    first, second, elsewhere = status(5, 5, level=1), status(5, 5, level=2), status(5, 5, level=2, dungeon=2)
    middle = 972 + 40

    def share(row):
        return encoder.encode(shown(chars, [row]), np.array([-1]))[0, middle]

    shares = [share(first) for _ in range(12)]
    np.testing.assert_allclose(shares, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1, 1])
    assert share(second) == share(elsewhere) == np.float32(0.1)
    assert share(first) == 1
    assert share(second) == np.float32(0.2)
    encoder.begin()
    assert share(first) == np.float32(0.1)


def test_rows_are_not_changed_by_later_steps():
    encoder, chars = Encoder(1, 23), np.full((1, ROWS, COLUMNS), 46, dtype=np.uint8)
    first = encoder.encode(shown(chars, [status(5, 5)]), np.array([3]))
    kept = first.copy()
    encoder.encode(shown(chars, [status(6, 5)]), np.array([4]))
    np.testing.assert_array_equal(first, kept)


def test_a_blank_screen_is_encoded_without_a_visit():
    encoder = Encoder(1, 23)
    blank = {"chars": np.full((1, ROWS, COLUMNS), 32, dtype=np.uint8), "blstats": np.zeros((1, 27), dtype=np.int64)}
    encoded = encoder.encode(blank, np.array([0]), seen=np.array([False]))[0]
    assert encoded[:972].sum() == 81
    assert encoded[972:1061].sum() == 0
    np.testing.assert_array_equal(encoded[1061:], np.eye(23)[0])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0, 23), {}, "environments"),
        ((8, 0), {}, "actions"),
        ((8, 23), {"crop": 0}, "crop"),
        ((8, 23), {"crop": 8}, "crop is 8, expected an odd number"),
    ],
)
def test_bad_sizes_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        Encoder(*arguments, **options)
