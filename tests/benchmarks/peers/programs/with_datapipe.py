"""The jobs with datapipe."""

from __future__ import annotations

from common import main
from queries import AGGREGATE, COMPUTE, JOIN, SHARE

import datapipe

CONTRACT = {
    "columns": {
        "l_orderkey": {"type": "int", "checks": {"ge": 1}},
        "l_quantity": {"type": "decimal", "checks": {"in_range": [1, 50]}},
        "l_returnflag": {"type": "str", "checks": {"isin": ["A", "N", "R"]}},
        "l_shipdate": {"type": "date", "checks": {"ge": "1992-01-01"}},
        "l_comment": {"type": "str", "checks": {"str_length": {"max_value": 44}}},
    }
}


def _copied(place, source, **write):
    datapipe.read(source, source=place["source"]).write("target", to=place["target"], **write).run()


def copy(place):
    _copied(place, "lineitem")


def compute(place):
    lines = datapipe.read("lineitem", source=place["source"])
    lines.sql(COMPUTE.format("input_data")).write("target", to=place["target"]).run()


def compute_source(place):
    _copied(place, COMPUTE.format("lineitem"))


def aggregate(place):
    lines = datapipe.read("lineitem", source=place["source"])
    lines.sql(AGGREGATE.format("input_data")).write("target", to=place["target"]).run()


def aggregate_source(place):
    _copied(place, AGGREGATE.format("lineitem"))


def join(place):
    lines, orders = (datapipe.read(name, source=place["source"]) for name in ("lineitem", "orders"))
    lines.sql(JOIN.format("input_data", "orders"), orders=orders).write("target", to=place["target"]).run()


def join_source(place):
    _copied(place, JOIN.format("lineitem", "orders"))


def python_whole(place):
    import polars as pl

    def shared(lines: pl.DataFrame) -> pl.DataFrame:
        quantity = pl.col("l_quantity").cast(pl.Float64)
        return lines.with_columns(share=quantity / quantity.sum().over("l_orderkey"))

    lines = datapipe.read(SHARE, source=place["source"])
    lines.apply(shared).write("target", to=place["target"]).run()


def python_batch(place):
    import pyarrow as pa
    import pyarrow.compute as pc

    def upper(lines: pa.Table) -> pa.Table:
        comment = lines["l_comment"]
        lines = lines.set_column(lines.column_names.index("l_comment"), "l_comment", pc.utf8_upper(comment))
        return lines.append_column("spaces", pc.count_substring(comment, " "))

    lines = datapipe.read("lineitem", source=place["source"])
    lines.apply(upper, per_batch=True).write("target", to=place["target"]).run()


def validate(place):
    datapipe.read("lineitem", source=place["source"]).validate(CONTRACT).write("target", to=place["target"]).run()


def upsert(place):
    _copied(place, "orders", strategy="upsert", keys=["o_orderkey"])


def replace(place):
    _copied(place, "orders", strategy="replace")


def append(place):
    _copied(place, "orders")


def sqlite_in(place):
    datapipe.read("orders", source=f"sqlite:///{place['sqlite']}").write("target", to=place["target"]).run()


def sqlite_out(place):
    datapipe.read("orders", source=place["source"]).write("target", to=f"sqlite:///{place['out']}/target.db").run()


def mariadb_in(place):
    datapipe.read("orders", source=place["mariadb"]).write("target", to=place["target"]).run()


def mariadb_out(place):
    datapipe.read("orders", source=place["source"]).write("target", to=place["mariadb_target"]).run()


def csv_in(place):
    datapipe.read(place["csv"]).write("target", to=place["target"]).run()


def csv_out(place):
    datapipe.read("lineitem", source=place["source"]).write(f"{place['out']}/target.csv").run()


def parquet_in(place):
    datapipe.read(place["parquet"]).write("target", to=place["target"]).run()


def parquet_out(place):
    datapipe.read("lineitem", source=place["source"]).write(f"{place['out']}/target.parquet").run()


def tiny_1(place):
    _copied(place, "tiny_1")


def tiny_1000(place):
    _copied(place, "tiny_1000")


def wide(place):
    _copied(place, "wide")


def long(place):
    _copied(place, "long")


if __name__ == "__main__":
    main(globals())
