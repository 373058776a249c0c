"""Total the orders of each day in SQL, then let a Python function compare each day with the one before.

datapipe run recipes/daily_totals.py
"""

import pandas as pd

import datapipe


def compare(days: pd.DataFrame) -> pd.DataFrame:
    """Add the change of the total since the day before; the first day has none."""
    days = days.sort_values("day")
    days["change"] = days["total"].diff()
    return days


plan = (
    datapipe.read("orders", source="${SOURCE_DB_URL}")
    .sql(
        """
        SELECT CAST(placed_at AS DATE) AS day, count(*) AS orders, CAST(sum(amount) AS DECIMAL(18, 2)) AS total
        FROM input_data
        GROUP BY day
        """
    )
    .apply(compare)
    .write("daily_totals", to="${DEST_DB_URL}", strategy="upsert", keys=["day"])
    .named("daily_totals")
)
