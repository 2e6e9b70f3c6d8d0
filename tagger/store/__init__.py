"""The store: SQL as the truth about what is wanted and what came of it.

``schema`` the tables; ``derived`` the views that people query; ``session`` connections and
transactions; ``migrate`` Alembic; ``catalog`` images, models and tags; ``census`` a scan against
them; ``ledger`` wants, leases and claims; ``outcomes`` what came of them; ``counts`` how many images
each tag has; ``queries`` what the command line asks.
"""
