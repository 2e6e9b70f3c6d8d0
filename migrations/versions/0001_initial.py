"""The first schema: images, contents, models, taggings, scores, verdicts.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TEXT

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Name = sa.Text().with_variant(TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "contents",
        sa.Column("id", BigInt, nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("format", Name, nullable=True),
        sa.Column("taken_at", Name, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contents")),
        sa.UniqueConstraint("digest", name=op.f("uq_contents_digest")),
    )
    op.create_table(
        "leases",
        sa.Column("id", BigInt, nullable=False),
        sa.Column("host", Name, nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("process_started", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leases")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "models",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", Name, nullable=False),
        sa.Column("spec", Name, nullable=False),
        sa.Column("vocabulary", Name, nullable=False),
        sa.Column("fingerprint", Name, nullable=False),
        sa.Column("floor", sa.Double(), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_models_fingerprint")),
        sa.UniqueConstraint("name", name=op.f("uq_models_name")),
    )
    op.create_index(
        "uq_models_live",
        "models",
        ["vocabulary"],
        unique=True,
        sqlite_where=sa.text("live"),
        postgresql_where=sa.text("live"),
    )
    op.create_table(
        "tags",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", Name, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tags")),
        sa.UniqueConstraint("name", name=op.f("uq_tags_name")),
    )
    op.create_table(
        "class_scores",
        sa.Column("content_id", BigInt, nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("label_index", sa.Integer(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["content_id"],
            ["contents.id"],
            name=op.f("fk_class_scores_content_id_contents"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name=op.f("fk_class_scores_model_id_models"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("content_id", "model_id", "rank", name=op.f("pk_class_scores")),
        postgresql_partition_by="LIST (model_id)",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "images",
        sa.Column("id", BigInt, nullable=False),
        sa.Column("uri", Name, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=True),
        sa.Column("content_id", BigInt, nullable=True),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("vanished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["content_id"], ["contents.id"], name=op.f("fk_images_content_id_contents"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_images")),
        sa.UniqueConstraint("uri", name=op.f("uq_images_uri")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_images_content_id"), "images", ["content_id"], unique=False)
    op.create_table(
        "labels",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("key", Name, nullable=False),
        sa.Column("name", Name, nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name=op.f("fk_labels_model_id_models"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("model_id", "index", name=op.f("pk_labels")),
    )
    op.create_table(
        "runs",
        sa.Column("id", BigInt, nullable=False),
        sa.Column("kind", Name, nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=True),
        sa.Column("places", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("reused", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name=op.f("fk_runs_model_id_models"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_table(
        "stale_tags",
        sa.Column("tag_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tag_id"], ["tags.id"], name=op.f("fk_stale_tags_tag_id_tags"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tag_id", name=op.f("pk_stale_tags")),
    )
    op.create_table(
        "tag_aliases",
        sa.Column("alias", Name, nullable=False),
        sa.Column("tag_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tag_id"], ["tags.id"], name=op.f("fk_tag_aliases_tag_id_tags"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("alias", name=op.f("pk_tag_aliases")),
    )
    op.create_index(op.f("ix_tag_aliases_tag_id"), "tag_aliases", ["tag_id"], unique=False)
    op.create_table(
        "tag_paths",
        sa.Column("ancestor_id", sa.Integer(), nullable=False),
        sa.Column("descendant_id", sa.Integer(), nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["ancestor_id"], ["tags.id"], name=op.f("fk_tag_paths_ancestor_id_tags"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["descendant_id"], ["tags.id"], name=op.f("fk_tag_paths_descendant_id_tags"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("ancestor_id", "descendant_id", name=op.f("pk_tag_paths")),
    )
    op.create_index(op.f("ix_tag_paths_descendant_id"), "tag_paths", ["descendant_id"], unique=False)
    op.create_table(
        "tag_scores",
        sa.Column("content_id", BigInt, nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("tag_id", sa.Integer(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["content_id"],
            ["contents.id"],
            name=op.f("fk_tag_scores_content_id_contents"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name=op.f("fk_tag_scores_model_id_models"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["tag_id"], ["tags.id"], name=op.f("fk_tag_scores_tag_id_tags"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("content_id", "model_id", "tag_id", name=op.f("pk_tag_scores")),
        postgresql_partition_by="LIST (model_id)",
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_tag_scores_search", "tag_scores", ["tag_id", "model_id", "confidence", "content_id"], unique=False
    )
    op.create_table(
        "tag_tallies",
        sa.Column("tag_id", sa.Integer(), nullable=False),
        sa.Column("images", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tag_id"], ["tags.id"], name=op.f("fk_tag_tallies_tag_id_tags"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tag_id", name=op.f("pk_tag_tallies")),
    )
    op.create_table(
        "thresholds",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("tag_id", sa.Integer(), nullable=False),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.CheckConstraint("threshold >= 0 AND threshold <= 1", name=op.f("ck_thresholds_range")),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name=op.f("fk_thresholds_model_id_models"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["tag_id"], ["tags.id"], name=op.f("fk_thresholds_tag_id_tags"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("model_id", "tag_id", name=op.f("pk_thresholds")),
    )
    op.create_table(
        "taggings",
        sa.Column("image_id", BigInt, nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("lease_id", BigInt, nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", Name, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("content_id", BigInt, nullable=True),
        sa.Column("engine", Name, nullable=True),
        sa.Column("precision", Name, nullable=True),
        sa.Column("loader", Name, nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["content_id"], ["contents.id"], name=op.f("fk_taggings_content_id_contents"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_taggings_image_id_images"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["lease_id"], ["leases.id"], name=op.f("fk_taggings_lease_id_leases"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name=op.f("fk_taggings_model_id_models"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("image_id", "model_id", name=op.f("pk_taggings")),
    )
    op.create_index(op.f("ix_taggings_content_id"), "taggings", ["content_id"], unique=False)
    op.create_index(
        "ix_taggings_lease_id",
        "taggings",
        ["lease_id"],
        unique=False,
        sqlite_where=sa.text("lease_id IS NOT NULL"),
        postgresql_where=sa.text("lease_id IS NOT NULL"),
    )
    op.create_index("ix_taggings_model_id_outcome", "taggings", ["model_id", "outcome"], unique=False)
    op.create_index(
        "ix_taggings_pending",
        "taggings",
        ["model_id", "image_id"],
        unique=False,
        sqlite_where=sa.text("outcome IS NULL"),
        postgresql_where=sa.text("outcome IS NULL"),
    )
    op.create_table(
        "verdicts",
        sa.Column("image_id", BigInt, nullable=False),
        sa.Column("tag_id", sa.Integer(), nullable=False),
        sa.Column("verdict", Name, nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("verdict IN ('confirm', 'reject')", name=op.f("ck_verdicts_word")),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_verdicts_image_id_images"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["tag_id"], ["tags.id"], name=op.f("fk_verdicts_tag_id_tags"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("image_id", "tag_id", name=op.f("pk_verdicts")),
    )


def downgrade() -> None:
    op.drop_table("verdicts")
    op.drop_index(
        "ix_taggings_pending",
        table_name="taggings",
        sqlite_where=sa.text("outcome IS NULL"),
        postgresql_where=sa.text("outcome IS NULL"),
    )
    op.drop_index("ix_taggings_model_id_outcome", table_name="taggings")
    op.drop_index(
        "ix_taggings_lease_id",
        table_name="taggings",
        sqlite_where=sa.text("lease_id IS NOT NULL"),
        postgresql_where=sa.text("lease_id IS NOT NULL"),
    )
    op.drop_index(op.f("ix_taggings_content_id"), table_name="taggings")
    op.drop_table("taggings")
    op.drop_table("thresholds")
    op.drop_table("tag_tallies")
    op.drop_index("ix_tag_scores_search", table_name="tag_scores")
    op.drop_table("tag_scores")
    op.drop_index(op.f("ix_tag_paths_descendant_id"), table_name="tag_paths")
    op.drop_table("tag_paths")
    op.drop_index(op.f("ix_tag_aliases_tag_id"), table_name="tag_aliases")
    op.drop_table("tag_aliases")
    op.drop_table("stale_tags")
    op.drop_table("runs")
    op.drop_table("labels")
    op.drop_index(op.f("ix_images_content_id"), table_name="images")
    op.drop_table("images")
    op.drop_table("class_scores")
    op.drop_table("tags")
    op.drop_index(
        "uq_models_live", table_name="models", sqlite_where=sa.text("live"), postgresql_where=sa.text("live")
    )
    op.drop_table("models")
    op.drop_table("leases")
    op.drop_table("contents")
