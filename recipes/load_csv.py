"""Load every CSV file of data/readings into one table, with declared types, in one transaction.

datapipe run recipes/load_csv.py
"""

import datapipe

plan = (
    datapipe.read("data/readings/*.csv", columns={"station": "VARCHAR", "celsius": "DECIMAL(5, 2)"})
    .sql("SELECT station, measured_at, celsius FROM input_data WHERE celsius IS NOT NULL")
    .write("readings", to="${DEST_DB_URL}", strategy="replace")
    .named("load_csv")
)
