"""The one currency between stages: Arrow batches, their types, and the way to frames and back."""
