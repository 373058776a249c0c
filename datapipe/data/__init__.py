"""The one currency between stages: Arrow batches, their types, and the way to frames and back."""

import os

# Pandera sets this to 1 when it is imported, for PySpark's sake, and leaves it alone where it is set. With 1, pyarrow
# drops the time zone of every datetime it is given without a word, and so changes the instant.
os.environ["PYARROW_IGNORE_TIMEZONE"] = ""
