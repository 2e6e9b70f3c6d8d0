"""The store: SQL as the truth about what is wanted and what came of it.

``schema`` the tables; ``derived`` the views that people query; ``session`` connections and
transactions; ``migrate`` Alembic; ``catalog`` images, models and tags; ``ledger`` wants, claims and
outcomes; ``counts`` how many images each tag has; ``queries`` what the command line asks.
"""
