"""Guidance that keeps the goal: potentials and advice that change no optimum, and blends that learn whom to trust."""
