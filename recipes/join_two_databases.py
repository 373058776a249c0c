"""Join users in one database with orders in another, here the connection `shop`, and keep each user's turnover.

DATAPIPE_CONNECTION_SHOP=sqlite:///shop.db datapipe run recipes/join_two_databases.py
"""

import datapipe

plan = (
    datapipe.read("SELECT id, name FROM users WHERE status = 'active'", source="${SOURCE_DB_URL}")
    .sql(
        """
        SELECT u.id, u.name, count(o.id) AS orders, coalesce(sum(o.amount), 0) AS turnover
        FROM input_data u LEFT JOIN orders o ON o.user_id = u.id
        GROUP BY u.id, u.name
        """,
        orders=datapipe.read("orders", source="shop"),
    )
    .write("turnover", to="${DEST_DB_URL}", strategy="upsert", keys=["id"])
    .named("join_two_databases")
)
