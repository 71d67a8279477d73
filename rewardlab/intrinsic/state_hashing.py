"""Keys of states for counting where no two observations are alike: signs of random projections."""

import numpy as np
from jaxtyping import Float

from rewardlab.checks import as_generator, check_scalar

__all__ = ["SimHash"]


class SimHash:
    """Code of an observation: the signs of `bits` random projections of its features.

    Two observations at angle `a` to each other differ in each bit with probability `a / pi`, so near ones are likely to
    share a code and are counted as one state; the length of the feature vector does not matter. More bits tell more
    states apart.

    Args:
        features: Numbers in an observation.
        bits: Length of the code.
        rng: A seed or a generator; the same seed gives the same codes.

    Raises:
        ValueError: If a size is below 1.

    Source: `sign(A phi(s))` with `A` of independent standard normal entries (arXiv 1611.04717).
    """

    def __init__(self, features: int, *, bits: int = 32, rng: int | np.random.Generator) -> None:
        check_scalar("features", features, low=1, whole=True)
        check_scalar("bits", bits, low=1, whole=True)
        self.projection = as_generator(rng).standard_normal((bits, features))

    def codes(self, features: Float[np.ndarray, "n f"]) -> list[bytes]:
        """Keys to count, for `Arrivals.keys` and `Starts.keys`: `bits` bits each, packed.

        Raises:
            ValueError: If the features are of another size, or one is not finite.
        """
        features = np.asarray(features)
        expected = self.projection.shape[1]
        if features.ndim != 2 or features.shape[1] != expected:
            raise ValueError(f"features has shape {features.shape}, expected (n, {expected})")
        if not np.isfinite(features).all():
            place = [int(at) for at in np.argwhere(~np.isfinite(features))[0]]
            raise ValueError(f"features{place} is {features[tuple(place)]}, expected a finite number")
        signs = features @ self.projection.T >= 0
        return [row.tobytes() for row in np.packbits(signs, axis=1)]
