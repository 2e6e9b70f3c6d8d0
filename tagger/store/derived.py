"""What is derived from the tables: the views that people query, and the triggers that tell which
tallies no longer hold, and that remove scores with their contents.

The views are a contract, the same on SQLite and PostgreSQL. They are dropped before and created
after every migration (SQLite cannot alter a table that a view names), so they always are as this
module says; so are the views of albums, whose statements are rows. ``model_tags``, ``person_tags`` and
``stale_counts`` are steps on the way and not part of the contract.
"""

from __future__ import annotations

from sqlalchemy import Connection, inspect, select, text

from tagger.store.schema import AlbumRow

_ONE = "LIMIT 1 OFFSET 0"
"""Ends every EXISTS. Both databases then ask it for one row at a time, by index; without it
PostgreSQL turns the question into a join over the whole library, a thousand times slower."""

_ALL = "LIMIT 1000000 OFFSET 0"
"""Ends a list that is to be made first: the dozen scores of an image, not the hundreds of tags under
*animal*."""

_REJECTED = f"""EXISTS (
    SELECT 1 FROM verdicts v CROSS JOIN tag_paths up
    WHERE v.image_id = {{image}} AND v.verdict = 'reject' AND up.ancestor_id = v.tag_id
      AND up.descendant_id = {{tag}} {_ONE})"""
"""Reject implies the descendants. SQLite keeps the order of a CROSS JOIN: an image's own verdicts are few."""

VIEWS: dict[str, str] = {
    # What each model says of each present image: over its threshold, or above a tag that is;
    # nothing that a person rejected, nor what only stands on it. Thresholds are asked for row by row:
    # joined, they lead PostgreSQL to begin with them, and to try each tag on each image.
    "model_tags": f"""
        SELECT i.id AS image_id, i.uri, s.content_id, s.model_id, s.tag_id, s.confidence
        FROM tag_scores s JOIN images i ON i.content_id = s.content_id
        WHERE i.vanished_at IS NULL
          AND (SELECT s.confidence >= h.threshold
                      OR EXISTS (SELECT 1 FROM (SELECT a.tag_id, a.confidence, a.model_id FROM tag_scores a
                                                WHERE a.content_id = s.content_id AND a.model_id = s.model_id
                                                {_ALL}) d
                                 WHERE d.confidence >= (SELECT o.threshold FROM thresholds o
                                                        WHERE o.model_id = d.model_id AND o.tag_id = d.tag_id)
                                   AND EXISTS (SELECT 1 FROM tag_paths p
                                               WHERE p.ancestor_id = s.tag_id AND p.descendant_id = d.tag_id
                                                 AND p.depth > 0 {_ONE})
                                   AND NOT {_REJECTED.format(image="i.id", tag="d.tag_id")} {_ONE})
               FROM thresholds h WHERE h.model_id = s.model_id AND h.tag_id = s.tag_id)
          AND NOT {_REJECTED.format(image="i.id", tag="s.tag_id")}
    """,
    # Confirm implies the ancestors.
    "person_tags": f"""
        SELECT DISTINCT i.id AS image_id, i.uri, p.ancestor_id AS tag_id
        FROM verdicts c JOIN tag_paths p ON p.descendant_id = c.tag_id
        JOIN images i ON i.id = c.image_id
        WHERE c.verdict = 'confirm' AND i.vanished_at IS NULL
          AND NOT {_REJECTED.format(image="c.image_id", tag="p.ancestor_id")}
    """,
    # Of several live models the surest speaks; a person speaks before them all. That there are
    # several is asked first: most libraries have one.
    "effective_tags": f"""
        SELECT e.image_id, e.uri, t.name AS tag, e.confidence, 'model' AS source, m.name AS model,
               e.tag_id
        FROM model_tags e JOIN models m ON m.id = e.model_id JOIN tags t ON t.id = e.tag_id
        WHERE m.live
          AND (NOT EXISTS (SELECT 1 FROM models n WHERE n.live AND n.id <> m.id {_ONE})
               OR NOT EXISTS (SELECT 1 FROM models n JOIN model_tags o ON o.model_id = n.id
                              WHERE n.live AND n.id <> m.id AND o.content_id = e.content_id
                                AND o.image_id = e.image_id AND o.tag_id = e.tag_id
                                AND (o.confidence > e.confidence
                                     OR (o.confidence = e.confidence AND n.id < m.id)) {_ONE}))
          AND NOT EXISTS (SELECT 1 FROM verdicts c CROSS JOIN tag_paths p
                          WHERE c.image_id = e.image_id AND c.verdict = 'confirm'
                            AND p.descendant_id = c.tag_id AND p.ancestor_id = e.tag_id {_ONE})
        UNION ALL
        SELECT w.image_id, w.uri, t.name AS tag, CAST(1.0 AS DOUBLE PRECISION) AS confidence,
               'person' AS source, NULL AS model, w.tag_id
        FROM person_tags w JOIN tags t ON t.id = w.tag_id
    """,
    "image_status": """
        SELECT i.id AS image_id, i.uri, m.name AS model, COALESCE(g.outcome, 'pending') AS outcome,
               g.reason, g.attempts, g.finished_at, g.engine, g.precision, g.loader
        FROM taggings g JOIN images i ON i.id = g.image_id JOIN models m ON m.id = g.model_id
    """,
    "label_scores": """
        SELECT i.id AS image_id, i.uri, m.name AS model, s.rank, l.key AS label_key,
               l.name AS label, s.confidence
        FROM class_scores s JOIN images i ON i.content_id = s.content_id
        JOIN models m ON m.id = s.model_id
        JOIN labels l ON l.model_id = s.model_id AND l."index" = s.label_index
    """,
    "image_info": """
        SELECT i.id AS image_id, i.uri, i.size, c.width, c.height, c.format, c.taken_at,
               c.latitude, c.longitude, i.vanished_at
        FROM images i LEFT JOIN contents c ON c.id = i.content_id
    """,
    # A question for each stale tag, since the planner would else begin with all effective tags.
    "stale_counts": """
        SELECT s.tag_id, t.name AS tag,
               (SELECT COUNT(*) FROM effective_tags e WHERE e.tag_id = s.tag_id) AS images
        FROM stale_tags s JOIN tags t ON t.id = s.tag_id
    """,
    "tag_counts": """
        SELECT t.name AS tag, n.images
        FROM tag_tallies n JOIN tags t ON t.id = n.tag_id
        WHERE n.images > 0 AND NOT EXISTS (SELECT 1 FROM stale_tags s WHERE s.tag_id = n.tag_id)
        UNION ALL
        SELECT a.tag, a.images FROM stale_counts a WHERE a.images > 0
    """,
    "tag_closure": """
        SELECT a.name AS ancestor, d.name AS descendant, p.depth
        FROM tag_paths p JOIN tags a ON a.id = p.ancestor_id JOIN tags d ON d.id = p.descendant_id
    """,
    # For every two versions of a vocabulary, over the images that both have finished.
    "tag_diff": f"""
        SELECT e.uri, t.name AS tag, a.name AS from_model, b.name AS to_model,
               e.confidence AS from_confidence, s.confidence AS to_confidence,
               CASE WHEN k.tag_id IS NULL THEN 'lost' ELSE 'shifted' END AS change
        FROM model_tags e JOIN models a ON a.id = e.model_id
        JOIN models b ON b.vocabulary = a.vocabulary AND b.id <> a.id
        JOIN taggings g ON g.image_id = e.image_id AND g.model_id = b.id AND g.outcome IN ('ok', 'empty')
        JOIN images i ON i.id = e.image_id
        JOIN tags t ON t.id = e.tag_id
        LEFT JOIN tag_scores s ON s.content_id = i.content_id AND s.model_id = b.id AND s.tag_id = e.tag_id
        LEFT JOIN model_tags k ON k.image_id = e.image_id AND k.model_id = b.id AND k.tag_id = e.tag_id
        WHERE k.tag_id IS NULL OR k.confidence <> e.confidence
        UNION ALL
        SELECT e.uri, t.name AS tag, a.name AS from_model, b.name AS to_model,
               s.confidence AS from_confidence, e.confidence AS to_confidence, 'gained' AS change
        FROM model_tags e JOIN models b ON b.id = e.model_id
        JOIN models a ON a.vocabulary = b.vocabulary AND a.id <> b.id
        JOIN taggings g ON g.image_id = e.image_id AND g.model_id = a.id AND g.outcome IN ('ok', 'empty')
        JOIN images i ON i.id = e.image_id
        JOIN tags t ON t.id = e.tag_id
        LEFT JOIN tag_scores s ON s.content_id = i.content_id AND s.model_id = a.id AND s.tag_id = e.tag_id
        WHERE NOT EXISTS (SELECT 1 FROM model_tags k WHERE k.image_id = e.image_id
                          AND k.model_id = a.id AND k.tag_id = e.tag_id {_ONE})
    """,
}

# Both selects end in a WHERE: without one SQLite would read ON CONFLICT as a join's ON.
# A threshold decides on its tag and, through it, on the tag's ancestors.
_STALE_BY_THRESHOLD = """
    INSERT INTO stale_tags (tag_id)
    SELECT p.ancestor_id FROM tag_paths p WHERE p.descendant_id = {row}.tag_id
    ON CONFLICT DO NOTHING"""
# A verdict on a tag decides on its ancestors or descendants, and through these on theirs.
_STALE_BY_VERDICT = """
    INSERT INTO stale_tags (tag_id)
    SELECT DISTINCT up.ancestor_id FROM tag_paths down
    JOIN tag_paths up ON up.descendant_id = down.descendant_id WHERE down.ancestor_id = {row}.tag_id
      AND NOT EXISTS (SELECT 1 FROM tally_keepers)
    ON CONFLICT DO NOTHING"""
_STALE_ALL = "INSERT INTO stale_tags (tag_id) SELECT t.id FROM tags t WHERE true ON CONFLICT DO NOTHING"

# The rows of scores carry no references, as these would be looked up for each: what refers to nothing
# any more is removed here.
_WITHOUT_CONTENT = """
    DELETE FROM tag_scores WHERE content_id = OLD.id;
    DELETE FROM class_scores WHERE content_id = OLD.id"""
_WITHOUT_MODEL = """
    DELETE FROM tag_scores WHERE model_id = OLD.id;
    DELETE FROM class_scores WHERE model_id = OLD.id"""

_TRIGGERS: dict[str, tuple[str, str, str]] = {
    "thresholds_added": ("thresholds", "INSERT", _STALE_BY_THRESHOLD.format(row="NEW")),
    "thresholds_changed": ("thresholds", "UPDATE", _STALE_BY_THRESHOLD.format(row="NEW")),
    "thresholds_removed": ("thresholds", "DELETE", _STALE_BY_THRESHOLD.format(row="OLD")),
    "verdicts_added": ("verdicts", "INSERT", _STALE_BY_VERDICT.format(row="NEW")),
    "verdicts_changed": ("verdicts", "UPDATE", _STALE_BY_VERDICT.format(row="NEW")),
    "verdicts_removed": ("verdicts", "DELETE", _STALE_BY_VERDICT.format(row="OLD")),
    "contents_removed": ("contents", "DELETE", _WITHOUT_CONTENT),
    "models_removed": ("models", "DELETE", _WITHOUT_MODEL),
    "models_live_changed": ("models", "UPDATE OF live", _STALE_ALL),
}


def create_derived(connection: Connection) -> None:
    """Create all views and triggers; the tables are at the newest migration."""
    for name, query in VIEWS.items():
        connection.execute(text(f"CREATE VIEW {name} AS {query}"))
    for view, statement in connection.execute(select(AlbumRow.view, AlbumRow.statement)).all():
        create_view(connection, view, statement)
    for name, (table, moment, statement) in _TRIGGERS.items():
        _create_trigger(connection, name, table, moment, statement)


def create_view(connection: Connection, name: str, statement: str) -> None:
    """Create the view of an album."""
    plain = statement.replace(":", "\\:")  # or what looks like a parameter would be taken for one
    connection.execute(text(f"CREATE VIEW {name} AS {plain}"))


def drop_derived(connection: Connection) -> None:
    """Drop what :func:`create_derived` makes, as far as it is there."""
    for name in _TRIGGERS:
        if connection.dialect.name == "sqlite":
            connection.execute(text(f"DROP TRIGGER IF EXISTS {name}"))
        else:
            connection.execute(text(f"DROP FUNCTION IF EXISTS {name} CASCADE"))
    if AlbumRow.__tablename__ in inspect(connection).get_table_names():
        for view in connection.execute(select(AlbumRow.view)).scalars().all():
            connection.execute(text(f"DROP VIEW IF EXISTS {view}"))
    for name in reversed(VIEWS):
        connection.execute(text(f"DROP VIEW IF EXISTS {name}"))


def _create_trigger(connection: Connection, name: str, table: str, moment: str, statement: str) -> None:
    if connection.dialect.name == "sqlite":
        connection.execute(
            text(f"CREATE TRIGGER {name} AFTER {moment} ON {table} FOR EACH ROW BEGIN {statement}; END")
        )
        return
    connection.execute(
        text(
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {statement}; RETURN NULL; END $$"
        )
    )
    connection.execute(
        text(f"CREATE TRIGGER {name} AFTER {moment} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()")
    )
