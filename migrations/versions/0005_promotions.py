"""Which version took over from which, so that it can be taken back.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "promotions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("previous_id", sa.Integer(), nullable=True),
        sa.Column("promoted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rolled_back_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_promotions"),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name="fk_promotions_model_id_models", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["previous_id"], ["models.id"], name="fk_promotions_previous_id_models", ondelete="SET NULL"
        ),
    )
    op.create_index("ix_promotions_model_id", "promotions", ["model_id"])
    op.create_index("ix_promotions_previous_id", "promotions", ["previous_id"])


def downgrade() -> None:
    op.drop_index("ix_promotions_previous_id", "promotions")
    op.drop_index("ix_promotions_model_id", "promotions")
    op.drop_table("promotions")
