"""How far each run came in each slice of time, for a plot; and who counts tags as verdicts are said.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

BIG_INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "run_ticks",
        sa.Column("run_id", BIG_INT, nullable=False),
        sa.Column("at", BIG_INT, nullable=False),
        sa.Column("done", BIG_INT, nullable=False),
        sa.Column("failed", BIG_INT, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_run_ticks_run_id_runs", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "at", name="pk_run_ticks"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tally_keepers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tally_keepers"),
    )


def downgrade() -> None:
    op.drop_table("tally_keepers")
    op.drop_table("run_ticks")
