"""Logged experience: what it is, where it comes from, and what is learned from it."""
