"""Worlds in which rewards are tried: real simulators and data sets, wrapped so that rewards can be compared on them."""
