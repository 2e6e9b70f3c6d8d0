"""Scores without references; indexes of what failed, vanished, was said; models with exclusive classes.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

FAILED = sa.text("outcome NOT IN ('ok', 'empty')")
VANISHED = sa.text("vanished_at IS NOT NULL")

SCORES = {
    "tag_scores": (
        "content_id INTEGER NOT NULL, model_id INTEGER NOT NULL, tag_id INTEGER NOT NULL",
        "tag_id",
    ),
    "class_scores": (
        "content_id INTEGER NOT NULL, model_id INTEGER NOT NULL, rank INTEGER NOT NULL, "
        "label_index INTEGER NOT NULL",
        "rank",
    ),
}
"""Columns before the confidence, and the last one of the key."""
REFERRED = {"content_id": "contents", "model_id": "models", "tag_id": "tags"}


def upgrade() -> None:
    for table in SCORES:
        _make_anew(table, referring=False)
    op.add_column(
        "models", sa.Column("exclusive", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.execute("UPDATE models SET exclusive = true")  # until now there was no other kind
    op.create_index(
        "ix_taggings_failures",
        "taggings",
        ["run_id", "finished_at", "outcome"],
        sqlite_where=FAILED,
        postgresql_where=FAILED,
    )
    op.create_index("ix_images_vanished", "images", ["id"], sqlite_where=VANISHED, postgresql_where=VANISHED)
    op.create_index("ix_verdicts_said", "verdicts", ["tag_id", "verdict", "image_id"])


def downgrade() -> None:
    op.drop_index("ix_verdicts_said", "verdicts")
    op.drop_index("ix_images_vanished", "images")
    op.drop_index("ix_taggings_failures", "taggings")
    op.drop_column("models", "exclusive")
    for table in SCORES:
        _make_anew(table, referring=True)


def _make_anew(table: str, *, referring: bool) -> None:
    """On SQLite a constraint goes or comes only with the table: a minute for a million images."""
    columns, last = SCORES[table]
    keys = [column for column in REFERRED if column in columns]
    if op.get_bind().dialect.name == "postgresql":
        for column in keys:
            name = f"fk_{table}_{column}_{REFERRED[column]}"
            if referring:
                op.create_foreign_key(name, table, REFERRED[column], [column], ["id"], ondelete="CASCADE")
            else:
                op.drop_constraint(name, table, type_="foreignkey")
        return
    references = "".join(
        f', CONSTRAINT fk_{table}_{column}_{REFERRED[column]} FOREIGN KEY ("{column}") '
        f"REFERENCES {REFERRED[column]} (id) ON DELETE CASCADE"
        for column in (keys if referring else ())
    )
    op.execute(f"ALTER TABLE {table} RENAME TO {table}_before")
    op.execute(
        f"CREATE TABLE {table} ({columns}, confidence DOUBLE NOT NULL, "
        f"CONSTRAINT pk_{table} PRIMARY KEY (content_id, model_id, {last}){references}) WITHOUT ROWID"
    )
    op.execute(f"INSERT INTO {table} SELECT * FROM {table}_before ORDER BY content_id, model_id, {last}")
    op.execute(f"DROP TABLE {table}_before")
    if table == "tag_scores":
        op.create_index("ix_tag_scores_search", table, ["tag_id", "model_id", "confidence", "content_id"])
