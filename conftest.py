"""Checks the shapes and types written in rewardlab's signatures at run time, in tests and doctests alike."""

import jaxtyping

# In a conftest rather than in pytest's options: xdist's workers do not see `addopts`.
# JAXTYPING_DISABLE=1 switches it off, as benchmarks must; the fixture `without_type_checks` does so for one test.
if not jaxtyping.config.jaxtyping_disable:
    checker = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"  # an int will do for a float
    jaxtyping.install_import_hook("rewardlab", checker)
