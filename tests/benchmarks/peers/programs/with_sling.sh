#!/bin/bash
# The jobs with sling: its command line, as its manual shows it. A query stands in for the table where rows are computed.
set -eo pipefail
export SLING_LOGGING=NO_COLOR SLING_DISABLE_TELEMETRY=true SLING_HOME_DIR="$PLACE_OUT/sling"
postgres() { echo "${1/postgresql:/postgres:}?sslmode=disable"; }
SOURCE=$(postgres "$PLACE_SOURCE") TARGET=$(postgres "$PLACE_TARGET")
into() { sling-linux-amd64 run --tgt-conn "$TARGET" --tgt-object public.target "$@" >"$PLACE_OUT/log" 2>&1 || { tail -20 "$PLACE_OUT/log" >&2; exit 1; }; }
from() { sling-linux-amd64 run --src-conn "$SOURCE" "$@" >"$PLACE_OUT/log" 2>&1 || { tail -20 "$PLACE_OUT/log" >&2; exit 1; }; }
pipe() { into --src-conn "$SOURCE" --src-stream "$1" --mode "${2:-full-refresh}" "${@:3}"; }

case $1 in
copy) pipe public.lineitem ;;
compute-source) pipe "SELECT *, l_extendedprice * (1 - l_discount) AS net FROM lineitem WHERE l_quantity > 5" ;;
aggregate-source)
    pipe "SELECT l_suppkey, l_returnflag, sum(l_quantity) AS quantity, sum(l_extendedprice) AS price, count(*) AS lines FROM lineitem GROUP BY l_suppkey, l_returnflag"
    ;;
join-source)
    pipe "SELECT l_orderkey, l_linenumber, o_orderdate, o_orderpriority, l_extendedprice * (1 - l_discount) AS net FROM lineitem JOIN orders ON l_orderkey = o_orderkey WHERE o_orderdate >= DATE '1997-01-01'"
    ;;
validate)
    export SLING_ON_CONSTRAINT_FAILURE=abort
    pipe public.lineitem full-refresh --columns '{
        "l_orderkey": "bigint | value >= 1", "l_quantity": "decimal(15,2) | value >= 1 and value <= 50",
        "l_returnflag": "string | value in ('"'A', 'N', 'R'"')", "l_shipdate": "date | value >= '"'1992-01-01'"'",
        "l_comment": "string | value_len <= 44"}'
    ;;
upsert) pipe public.orders incremental --primary-key o_orderkey ;;
replace) pipe public.orders truncate ;;
append) pipe public.orders snapshot ;;
sqlite-in) into --src-conn "sqlite://$PLACE_SQLITE" --src-stream main.orders --mode full-refresh ;;
sqlite-out) from --src-stream public.orders --tgt-conn "sqlite://$PLACE_OUT/target.db" --tgt-object main.target --mode full-refresh ;;
mariadb-in) into --src-conn "${PLACE_MARIADB/mysql:/mariadb:}" --src-stream "${PLACE_MARIADB##*/}.orders" --mode full-refresh ;;
mariadb-out)
    from --src-stream public.orders --tgt-conn "${PLACE_MARIADB_TARGET/mysql:/mariadb:}" \
        --tgt-object "${PLACE_MARIADB_TARGET##*/}.target" --mode full-refresh
    ;;
csv-in) into --src-stream "file://$PLACE_CSV" --mode full-refresh ;;
csv-out) from --src-stream public.lineitem --tgt-object "file://$PLACE_OUT/target.csv" ;;
tiny-1) pipe public.tiny_1 ;;
tiny-1000) pipe public.tiny_1000 ;;
wide) pipe public.wide ;;
long) pipe public.long ;;
*)
    echo "no job $1" >&2
    exit 2
    ;;
esac
