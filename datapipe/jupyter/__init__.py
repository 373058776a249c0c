"""Runs in a notebook: live cards, replaced by lasting ones when a run has ended."""
