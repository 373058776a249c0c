"""Notebooks as jobs: checked before they run, run in a process of their own, with results one can rely on."""
