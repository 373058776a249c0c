#!/bin/bash
# The jobs with psql alone: two processes and a binary COPY between them, close to what the servers can do.
set -eo pipefail

from() { psql -qX "$PLACE_SOURCE" -c "COPY $1 TO STDOUT (FORMAT binary)"; }
into() { psql -qX -v ON_ERROR_STOP=1 "$PLACE_TARGET" "$@"; }
pipe() { from "$1" | into -c "COPY target FROM STDIN (FORMAT binary)"; }

# One that makes its own target: its columns are those of the query.
query() {
    types=$(psql -qXAt "$PLACE_SOURCE" <<<"$1 LIMIT 0 \gdesc" | awk -F'|' '{print sep "\"" $1 "\" " $2; sep = ","}')
    into -c "CREATE TABLE target ($types)"
    pipe "($1)"
}

merge=$(printf ', %s = EXCLUDED.%s' o_custkey{,} o_orderstatus{,} o_totalprice{,} o_orderdate{,} o_orderpriority{,} \
    o_clerk{,} o_shippriority{,} o_comment{,})

case $1 in
copy) pipe lineitem ;;
compute-source) query "SELECT *, l_extendedprice * (1 - l_discount) AS net FROM lineitem WHERE l_quantity > 5" ;;
aggregate-source)
    query "SELECT l_suppkey, l_returnflag, sum(l_quantity) AS quantity, sum(l_extendedprice) AS price, count(*) AS lines
        FROM lineitem GROUP BY l_suppkey, l_returnflag"
    ;;
join-source)
    query "SELECT l_orderkey, l_linenumber, o_orderdate, o_orderpriority, l_extendedprice * (1 - l_discount) AS net
        FROM lineitem JOIN orders ON l_orderkey = o_orderkey WHERE o_orderdate >= DATE '1997-01-01'"
    ;;
validate)
    into -c "ALTER TABLE target ADD CHECK (l_orderkey >= 1), ADD CHECK (l_quantity BETWEEN 1 AND 50),
        ADD CHECK (l_returnflag IN ('A', 'N', 'R')), ADD CHECK (l_shipdate >= DATE '1992-01-01'),
        ADD CHECK (length(l_comment) <= 44)"
    pipe lineitem
    ;;
upsert)
    from orders | into -c BEGIN -c "CREATE TEMPORARY TABLE stage (LIKE target) ON COMMIT DROP" \
        -c "COPY stage FROM STDIN (FORMAT binary)" \
        -c "INSERT INTO target SELECT * FROM stage ON CONFLICT (o_orderkey) DO UPDATE SET ${merge:2}" -c COMMIT
    ;;
replace) from orders | into -c BEGIN -c "TRUNCATE target" -c "COPY target FROM STDIN (FORMAT binary)" -c COMMIT ;;
append) pipe orders ;;
csv-in) into -c "\copy target FROM '$PLACE_CSV' (FORMAT csv, HEADER)" ;;
csv-out) psql -qX "$PLACE_SOURCE" -c "\copy lineitem TO '$PLACE_OUT/target.csv' (FORMAT csv, HEADER)" ;;
tiny-1) pipe tiny_1 ;;
tiny-1000) pipe tiny_1000 ;;
wide) pipe wide ;;
long) pipe '"long"' ;;
*)
    echo "no job $1" >&2
    exit 2
    ;;
esac
