"""The SQL that several programs share, and that the checks take for the right answer."""

COMPUTE = "SELECT *, l_extendedprice * (1 - l_discount) AS net FROM {} WHERE l_quantity > 5"
AGGREGATE = (
    "SELECT l_suppkey, l_returnflag, sum(l_quantity) AS quantity, sum(l_extendedprice) AS price, count(*) AS lines"
    " FROM {} GROUP BY l_suppkey, l_returnflag"
)
JOIN = (
    "SELECT l_orderkey, l_linenumber, o_orderdate, o_orderpriority, l_extendedprice * (1 - l_discount) AS net"
    " FROM {} AS l JOIN {} AS o ON l_orderkey = o_orderkey WHERE o_orderdate >= DATE '1997-01-01'"
)
SHARE = "SELECT l_orderkey, l_linenumber, l_quantity FROM lineitem"
CHECKS = (
    "l_orderkey >= 1",
    "l_quantity BETWEEN 1 AND 50",
    "l_returnflag IN ('A', 'N', 'R')",
    "l_shipdate >= DATE '1992-01-01'",
    "length(l_comment) <= 44",
)
ORDERS = (
    "o_orderkey",
    "o_custkey",
    "o_orderstatus",
    "o_totalprice",
    "o_orderdate",
    "o_orderpriority",
    "o_clerk",
    "o_shippriority",
    "o_comment",
)
MERGE = "INSERT INTO target SELECT * FROM {} ON CONFLICT (o_orderkey) DO UPDATE SET " + ", ".join(
    f"{name} = EXCLUDED.{name}" for name in ORDERS[1:]
)
