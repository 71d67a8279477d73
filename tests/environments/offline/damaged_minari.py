"""Reads damaged copies of a Minari data set; prints how many were refused by a ValueError, and how many read."""

import sys
from pathlib import Path

import numpy as np

from environments.offline.formats.minari_format import minari_facts, read_minari

TIMES = 100  # number 88 of Arrow's is one that Arrow itself does not survive


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut, or with some bytes overwritten."""
    start = int(rng.integers(len(content)))
    if rng.random() < 0.3:
        return content[:start]
    end = min(len(content), start + int(rng.integers(1, 64)))
    return content[:start] + rng.bytes(end - start) + content[end:]


def main(folder: Path) -> None:
    refused = read = 0
    numbers = next(path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".json")
    for path in (numbers, folder / "data" / "metadata.json"):
        content = path.read_bytes()
        for time in range(TIMES):
            path.write_bytes(damaged(content, np.random.default_rng(time)))
            for reader in (read_minari, minari_facts):
                try:
                    reader(folder)
                    read += 1
                except (ValueError, FileNotFoundError):
                    refused += 1
        path.write_bytes(content)
    print(refused, read)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
