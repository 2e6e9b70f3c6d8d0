"""How many processes died of an image, alone; where pictures were taken; URIs of any length.

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
    if op.get_bind().dialect.name == "postgresql":
        # A B-tree takes no more than a third of a page, and a path in Chinese is soon longer than that.
        # A hash keeps URIs unique at any length; SP-GiST finds what lies beneath a folder.
        op.drop_constraint("uq_images_uri", "images", type_="unique")
        op.execute("ALTER TABLE images ADD CONSTRAINT uq_images_uri EXCLUDE USING hash (uri WITH =)")
        op.create_index("ix_images_uri", "images", ["uri"], postgresql_using="spgist")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index("ix_images_uri", "images")
        op.drop_constraint("uq_images_uri", "images")
        op.create_unique_constraint("uq_images_uri", "images", ["uri"])
    op.drop_column("contents", "longitude")
    op.drop_column("contents", "latitude")
    op.drop_column("taggings", "deaths")
