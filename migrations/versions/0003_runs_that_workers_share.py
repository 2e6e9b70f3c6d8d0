"""Runs that many workers share: totals, state, order; what is sent; who works; which jobs began.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NAME = sa.Text().with_variant(sa.dialects.postgresql.TEXT(collation="C"), "postgresql")
PENDING = sa.text("outcome IS NULL")
DEADLY = sa.text("outcome IS NULL AND deaths > 0")
UNFINISHED = sa.text("finished_at IS NULL")

# Column by column and not in batch mode: see 0002. Alembic adds no reference to a table of SQLite
# otherwise, and SQLite itself does, with the column.


def _add_reference(table: str, column: str, target: str) -> None:
    key = f"fk_{table}_{column}_{target}"
    if op.get_bind().dialect.name == "postgresql":
        op.add_column(table, sa.Column(column, sa.BigInteger(), nullable=True))
        op.create_foreign_key(key, table, target, [column], ["id"], ondelete="SET NULL")
    else:
        op.execute(
            f"ALTER TABLE {table} ADD COLUMN {column} INTEGER "
            f"CONSTRAINT {key} REFERENCES {target} (id) ON DELETE SET NULL"
        )


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("name", NAME, nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", "due_at", name="pk_jobs"),
    )
    for column in (
        sa.Column("role", NAME, server_default="tag", nullable=False),
        sa.Column("name", NAME, nullable=True),
        sa.Column("device", NAME, nullable=True),
        sa.Column("images", BIG, server_default="0", nullable=False),
        sa.Column("rate", sa.Double(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
    ):
        op.add_column("leases", column)
    for column in (
        sa.Column("name", NAME, nullable=True),
        sa.Column("state", NAME, server_default="running", nullable=False),
        sa.Column("priority", sa.Integer(), server_default="0", nullable=False),
        sa.Column("total", BIG, server_default="0", nullable=False),
        sa.Column("rate", sa.Double(), server_default="0", nullable=False),
        sa.Column("rated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
    ):
        op.add_column("runs", column)
    _add_reference("runs", "lease_id", "leases")
    # Until now a run had no state: those that are not finished were cut off.
    op.execute("UPDATE runs SET total = done, state = 'ended'")
    op.execute("UPDATE runs SET state = 'cut off', finished_at = started_at WHERE finished_at IS NULL")
    if op.get_bind().dialect.name == "postgresql":
        for counter in ("done", "failed", "reused"):
            op.alter_column("runs", counter, type_=sa.BigInteger(), server_default="0")
    op.create_index(
        "uq_runs_name",
        "runs",
        ["name", "model_id", "priority"],
        unique=True,
        sqlite_where=UNFINISHED,
        postgresql_where=UNFINISHED,
    )
    op.create_index(
        "ix_runs_unfinished",
        "runs",
        ["priority", "id"],
        sqlite_where=UNFINISHED,
        postgresql_where=UNFINISHED,
    )
    op.create_table(
        "requests",
        sa.Column("id", BIG, nullable=False),
        sa.Column("run_id", BIG, nullable=False),
        sa.Column("lease_id", BIG, nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_requests"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_requests_run_id_runs", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["lease_id"], ["leases.id"], name="fk_requests_lease_id_leases", ondelete="SET NULL"
        ),
    )
    op.create_index("ix_requests_run_id", "requests", ["run_id"])
    _add_reference("taggings", "run_id", "runs")
    op.add_column("taggings", sa.Column("previous", NAME, nullable=True))
    op.create_index(
        "ix_taggings_dispatch",
        "taggings",
        ["run_id", "not_before", "image_id"],
        sqlite_where=PENDING,
        postgresql_where=PENDING,
    )
    op.create_index(
        "ix_taggings_deaths", "taggings", ["deaths"], sqlite_where=DEADLY, postgresql_where=DEADLY
    )


def downgrade() -> None:
    op.drop_index("ix_taggings_deaths", "taggings")
    op.drop_index("ix_taggings_dispatch", "taggings")
    op.drop_column("taggings", "previous")
    _drop_reference("taggings", "run_id", "runs")
    op.drop_table("requests")
    op.drop_index("ix_runs_unfinished", "runs")
    op.drop_index("uq_runs_name", "runs")
    _drop_reference("runs", "lease_id", "leases")
    for column in ("name", "state", "priority", "total", "rate", "rated_at", "note"):
        op.drop_column("runs", column)
    if op.get_bind().dialect.name == "postgresql":
        for counter in ("done", "failed", "reused"):
            op.alter_column("runs", counter, type_=sa.Integer(), server_default=None)
    for column in ("role", "name", "device", "images", "rate", "note"):
        op.drop_column("leases", column)
    op.drop_table("jobs")


def _drop_reference(table: str, column: str, target: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(f"fk_{table}_{column}_{target}", table, type_="foreignkey")
    op.drop_column(table, column)
