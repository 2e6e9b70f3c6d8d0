"""Searches that are kept under a name, each with a view of its own.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

NAME = sa.Text().with_variant(sa.dialects.postgresql.TEXT(collation="C"), "postgresql")

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "albums",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("expression", NAME, nullable=False),
        sa.Column("view", NAME, nullable=False),
        sa.Column("statement", NAME, nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_albums"),
        sa.UniqueConstraint("name", name="uq_albums_name"),
        sa.UniqueConstraint("view", name="uq_albums_view"),
    )


def downgrade() -> None:
    op.drop_table("albums")
