"""How many processes died of an image, alone; and where pictures were taken.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


# Column by column and not in batch mode, which on SQLite makes a table anew and drops the old one:
# that would delete, by cascade, all that refers to its rows.


def upgrade() -> None:
    op.add_column("taggings", sa.Column("deaths", sa.Integer(), server_default="0", nullable=False))
    op.add_column("contents", sa.Column("latitude", sa.Double(), nullable=True))
    op.add_column("contents", sa.Column("longitude", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("contents", "longitude")
    op.drop_column("contents", "latitude")
    op.drop_column("taggings", "deaths")
