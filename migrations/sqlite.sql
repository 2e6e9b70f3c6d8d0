CREATE TABLE albums (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	expression TEXT NOT NULL, 
	"view" TEXT NOT NULL, 
	statement TEXT NOT NULL, 
	made_at DATETIME NOT NULL, 
	CONSTRAINT pk_albums PRIMARY KEY (id), 
	CONSTRAINT uq_albums_name UNIQUE (name), 
	CONSTRAINT uq_albums_view UNIQUE ("view")
);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0007');
CREATE TABLE class_scores (content_id INTEGER NOT NULL, model_id INTEGER NOT NULL, rank INTEGER NOT NULL, label_index INTEGER NOT NULL, confidence DOUBLE NOT NULL, CONSTRAINT pk_class_scores PRIMARY KEY (content_id, model_id, rank)) WITHOUT ROWID;
CREATE TABLE contents (
	id INTEGER NOT NULL, 
	digest BLOB NOT NULL, 
	width INTEGER, 
	height INTEGER, 
	format TEXT, 
	taken_at TEXT, latitude DOUBLE, longitude DOUBLE, 
	CONSTRAINT pk_contents PRIMARY KEY (id), 
	CONSTRAINT uq_contents_digest UNIQUE (digest)
);
CREATE TABLE images (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	uri TEXT NOT NULL, 
	size BIGINT, 
	mtime_ns BIGINT, 
	content_id INTEGER, 
	added_at DATETIME NOT NULL, 
	vanished_at DATETIME, 
	CONSTRAINT fk_images_content_id_contents FOREIGN KEY(content_id) REFERENCES contents (id) ON DELETE SET NULL, 
	CONSTRAINT uq_images_uri UNIQUE (uri)
);
CREATE TABLE jobs (
	name TEXT NOT NULL, 
	due_at DATETIME NOT NULL, 
	began_at DATETIME NOT NULL, 
	CONSTRAINT pk_jobs PRIMARY KEY (name, due_at)
);
CREATE TABLE labels (
	model_id INTEGER NOT NULL, 
	"index" INTEGER NOT NULL, 
	"key" TEXT NOT NULL, 
	name TEXT NOT NULL, 
	CONSTRAINT pk_labels PRIMARY KEY (model_id, "index"), 
	CONSTRAINT fk_labels_model_id_models FOREIGN KEY(model_id) REFERENCES models (id) ON DELETE CASCADE
);
CREATE TABLE leases (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	host TEXT NOT NULL, 
	pid INTEGER NOT NULL, 
	process_started DOUBLE NOT NULL, 
	expires_at DATETIME NOT NULL
, role TEXT DEFAULT 'tag' NOT NULL, name TEXT, device TEXT, images INTEGER DEFAULT '0' NOT NULL, rate DOUBLE, note TEXT);
CREATE TABLE models (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	spec TEXT NOT NULL, 
	vocabulary TEXT NOT NULL, 
	fingerprint TEXT NOT NULL, 
	floor DOUBLE NOT NULL, 
	live BOOLEAN NOT NULL, 
	added_at DATETIME NOT NULL, "exclusive" BOOLEAN DEFAULT false NOT NULL, 
	CONSTRAINT pk_models PRIMARY KEY (id), 
	CONSTRAINT uq_models_fingerprint UNIQUE (fingerprint), 
	CONSTRAINT uq_models_name UNIQUE (name)
);
CREATE TABLE promotions (
	id INTEGER NOT NULL, 
	model_id INTEGER NOT NULL, 
	previous_id INTEGER, 
	promoted_at DATETIME NOT NULL, 
	rolled_back_at DATETIME, 
	CONSTRAINT pk_promotions PRIMARY KEY (id), 
	CONSTRAINT fk_promotions_model_id_models FOREIGN KEY(model_id) REFERENCES models (id) ON DELETE CASCADE, 
	CONSTRAINT fk_promotions_previous_id_models FOREIGN KEY(previous_id) REFERENCES models (id) ON DELETE SET NULL
);
CREATE TABLE requests (
	id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	lease_id INTEGER, 
	attempts INTEGER DEFAULT '0' NOT NULL, 
	not_before DATETIME, 
	body TEXT NOT NULL, 
	CONSTRAINT pk_requests PRIMARY KEY (id), 
	CONSTRAINT fk_requests_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE, 
	CONSTRAINT fk_requests_lease_id_leases FOREIGN KEY(lease_id) REFERENCES leases (id) ON DELETE SET NULL
);
CREATE TABLE run_ticks (
	run_id INTEGER NOT NULL, 
	at INTEGER NOT NULL, 
	done INTEGER NOT NULL, 
	failed INTEGER NOT NULL, 
	CONSTRAINT pk_run_ticks PRIMARY KEY (run_id, at), 
	CONSTRAINT fk_run_ticks_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
)
 WITHOUT ROWID

;
CREATE TABLE runs (
	id INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	model_id INTEGER, 
	places TEXT NOT NULL, 
	started_at DATETIME NOT NULL, 
	finished_at DATETIME, 
	done INTEGER NOT NULL, 
	failed INTEGER NOT NULL, 
	reused INTEGER NOT NULL, 
	seconds DOUBLE, name TEXT, state TEXT DEFAULT 'running' NOT NULL, priority INTEGER DEFAULT '0' NOT NULL, total INTEGER DEFAULT '0' NOT NULL, rate DOUBLE DEFAULT '0' NOT NULL, rated_at DATETIME, note TEXT, lease_id INTEGER CONSTRAINT fk_runs_lease_id_leases REFERENCES leases (id) ON DELETE SET NULL, 
	CONSTRAINT pk_runs PRIMARY KEY (id), 
	CONSTRAINT fk_runs_model_id_models FOREIGN KEY(model_id) REFERENCES models (id) ON DELETE SET NULL
);
CREATE TABLE stale_tags (
	tag_id INTEGER NOT NULL, 
	CONSTRAINT pk_stale_tags PRIMARY KEY (tag_id), 
	CONSTRAINT fk_stale_tags_tag_id_tags FOREIGN KEY(tag_id) REFERENCES tags (id) ON DELETE CASCADE
);
CREATE TABLE tag_aliases (
	alias TEXT NOT NULL, 
	tag_id INTEGER NOT NULL, 
	CONSTRAINT pk_tag_aliases PRIMARY KEY (alias), 
	CONSTRAINT fk_tag_aliases_tag_id_tags FOREIGN KEY(tag_id) REFERENCES tags (id) ON DELETE CASCADE
);
CREATE TABLE tag_paths (
	ancestor_id INTEGER NOT NULL, 
	descendant_id INTEGER NOT NULL, 
	depth INTEGER NOT NULL, 
	CONSTRAINT pk_tag_paths PRIMARY KEY (ancestor_id, descendant_id), 
	CONSTRAINT fk_tag_paths_ancestor_id_tags FOREIGN KEY(ancestor_id) REFERENCES tags (id) ON DELETE CASCADE, 
	CONSTRAINT fk_tag_paths_descendant_id_tags FOREIGN KEY(descendant_id) REFERENCES tags (id) ON DELETE CASCADE
);
CREATE TABLE tag_scores (content_id INTEGER NOT NULL, model_id INTEGER NOT NULL, tag_id INTEGER NOT NULL, confidence DOUBLE NOT NULL, CONSTRAINT pk_tag_scores PRIMARY KEY (content_id, model_id, tag_id)) WITHOUT ROWID;
CREATE TABLE tag_tallies (
	tag_id INTEGER NOT NULL, 
	images BIGINT NOT NULL, 
	CONSTRAINT pk_tag_tallies PRIMARY KEY (tag_id), 
	CONSTRAINT fk_tag_tallies_tag_id_tags FOREIGN KEY(tag_id) REFERENCES tags (id) ON DELETE CASCADE
);
CREATE TABLE taggings (
	image_id INTEGER NOT NULL, 
	model_id INTEGER NOT NULL, 
	lease_id INTEGER, 
	attempts INTEGER DEFAULT '0' NOT NULL, 
	not_before DATETIME, 
	outcome TEXT, 
	reason TEXT, 
	content_id INTEGER, 
	engine TEXT, 
	precision TEXT, 
	loader TEXT, 
	finished_at DATETIME, deaths INTEGER DEFAULT '0' NOT NULL, run_id INTEGER CONSTRAINT fk_taggings_run_id_runs REFERENCES runs (id) ON DELETE SET NULL, previous TEXT, 
	CONSTRAINT pk_taggings PRIMARY KEY (image_id, model_id), 
	CONSTRAINT fk_taggings_content_id_contents FOREIGN KEY(content_id) REFERENCES contents (id) ON DELETE SET NULL, 
	CONSTRAINT fk_taggings_image_id_images FOREIGN KEY(image_id) REFERENCES images (id) ON DELETE CASCADE, 
	CONSTRAINT fk_taggings_lease_id_leases FOREIGN KEY(lease_id) REFERENCES leases (id) ON DELETE SET NULL, 
	CONSTRAINT fk_taggings_model_id_models FOREIGN KEY(model_id) REFERENCES models (id) ON DELETE CASCADE
);
CREATE TABLE tags (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	CONSTRAINT pk_tags PRIMARY KEY (id), 
	CONSTRAINT uq_tags_name UNIQUE (name)
);
CREATE TABLE tally_keepers (
	id INTEGER NOT NULL, 
	CONSTRAINT pk_tally_keepers PRIMARY KEY (id)
);
CREATE TABLE thresholds (
	model_id INTEGER NOT NULL, 
	tag_id INTEGER NOT NULL, 
	threshold DOUBLE NOT NULL, 
	CONSTRAINT pk_thresholds PRIMARY KEY (model_id, tag_id), 
	CONSTRAINT ck_thresholds_range CHECK (threshold >= 0 AND threshold <= 1), 
	CONSTRAINT fk_thresholds_model_id_models FOREIGN KEY(model_id) REFERENCES models (id) ON DELETE CASCADE, 
	CONSTRAINT fk_thresholds_tag_id_tags FOREIGN KEY(tag_id) REFERENCES tags (id) ON DELETE CASCADE
);
CREATE TABLE verdicts (
	image_id INTEGER NOT NULL, 
	tag_id INTEGER NOT NULL, 
	verdict TEXT NOT NULL, 
	decided_at DATETIME NOT NULL, 
	CONSTRAINT pk_verdicts PRIMARY KEY (image_id, tag_id), 
	CONSTRAINT ck_verdicts_word CHECK (verdict IN ('confirm', 'reject')), 
	CONSTRAINT fk_verdicts_image_id_images FOREIGN KEY(image_id) REFERENCES images (id) ON DELETE CASCADE, 
	CONSTRAINT fk_verdicts_tag_id_tags FOREIGN KEY(tag_id) REFERENCES tags (id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX uq_models_live ON models (vocabulary) WHERE live;
CREATE INDEX ix_images_content_id ON images (content_id);
CREATE INDEX ix_tag_aliases_tag_id ON tag_aliases (tag_id);
CREATE INDEX ix_tag_paths_descendant_id ON tag_paths (descendant_id);
CREATE INDEX ix_taggings_content_id ON taggings (content_id);
CREATE INDEX ix_taggings_lease_id ON taggings (lease_id) WHERE lease_id IS NOT NULL;
CREATE INDEX ix_taggings_model_id_outcome ON taggings (model_id, outcome);
CREATE INDEX ix_taggings_pending ON taggings (model_id, image_id) WHERE outcome IS NULL;
CREATE UNIQUE INDEX uq_runs_name ON runs (name, model_id, priority) WHERE finished_at IS NULL;
CREATE INDEX ix_runs_unfinished ON runs (priority, id) WHERE finished_at IS NULL;
CREATE INDEX ix_requests_run_id ON requests (run_id);
CREATE INDEX ix_taggings_dispatch ON taggings (run_id, not_before, image_id) WHERE outcome IS NULL;
CREATE INDEX ix_taggings_deaths ON taggings (deaths) WHERE outcome IS NULL AND deaths > 0;
CREATE INDEX ix_tag_scores_search ON tag_scores (tag_id, model_id, confidence, content_id);
CREATE INDEX ix_taggings_failures ON taggings (run_id, finished_at, outcome) WHERE outcome NOT IN ('ok', 'empty');
CREATE INDEX ix_images_vanished ON images (id) WHERE vanished_at IS NOT NULL;
CREATE INDEX ix_verdicts_said ON verdicts (tag_id, verdict, image_id);
CREATE INDEX ix_promotions_model_id ON promotions (model_id);
CREATE INDEX ix_promotions_previous_id ON promotions (previous_id);
CREATE VIEW model_tags AS 
        SELECT i.id AS image_id, i.uri, s.content_id, s.model_id, s.tag_id, s.confidence
        FROM tag_scores s JOIN images i ON i.content_id = s.content_id
        WHERE i.vanished_at IS NULL
          AND (SELECT s.confidence >= h.threshold
                      OR EXISTS (SELECT 1 FROM (SELECT a.tag_id, a.confidence, a.model_id FROM tag_scores a
                                                WHERE a.content_id = s.content_id AND a.model_id = s.model_id
                                                LIMIT 1000000 OFFSET 0) d
                                 WHERE d.confidence >= (SELECT o.threshold FROM thresholds o
                                                        WHERE o.model_id = d.model_id AND o.tag_id = d.tag_id)
                                   AND EXISTS (SELECT 1 FROM tag_paths p
                                               WHERE p.ancestor_id = s.tag_id AND p.descendant_id = d.tag_id
                                                 AND p.depth > 0 LIMIT 1 OFFSET 0)
                                   AND NOT EXISTS (
    SELECT 1 FROM verdicts v CROSS JOIN tag_paths up
    WHERE v.image_id = i.id AND v.verdict = 'reject' AND up.ancestor_id = v.tag_id
      AND up.descendant_id = d.tag_id LIMIT 1 OFFSET 0) LIMIT 1 OFFSET 0)
               FROM thresholds h WHERE h.model_id = s.model_id AND h.tag_id = s.tag_id)
          AND NOT EXISTS (
    SELECT 1 FROM verdicts v CROSS JOIN tag_paths up
    WHERE v.image_id = i.id AND v.verdict = 'reject' AND up.ancestor_id = v.tag_id
      AND up.descendant_id = s.tag_id LIMIT 1 OFFSET 0);
CREATE VIEW person_tags AS 
        SELECT DISTINCT i.id AS image_id, i.uri, p.ancestor_id AS tag_id
        FROM verdicts c JOIN tag_paths p ON p.descendant_id = c.tag_id
        JOIN images i ON i.id = c.image_id
        WHERE c.verdict = 'confirm' AND i.vanished_at IS NULL
          AND NOT EXISTS (
    SELECT 1 FROM verdicts v CROSS JOIN tag_paths up
    WHERE v.image_id = c.image_id AND v.verdict = 'reject' AND up.ancestor_id = v.tag_id
      AND up.descendant_id = p.ancestor_id LIMIT 1 OFFSET 0);
CREATE VIEW effective_tags AS 
        SELECT e.image_id, e.uri, t.name AS tag, e.confidence, 'model' AS source, m.name AS model,
               e.tag_id
        FROM model_tags e JOIN models m ON m.id = e.model_id JOIN tags t ON t.id = e.tag_id
        WHERE m.live
          AND (NOT EXISTS (SELECT 1 FROM models n WHERE n.live AND n.id <> m.id LIMIT 1 OFFSET 0)
               OR NOT EXISTS (SELECT 1 FROM models n JOIN model_tags o ON o.model_id = n.id
                              WHERE n.live AND n.id <> m.id AND o.content_id = e.content_id
                                AND o.image_id = e.image_id AND o.tag_id = e.tag_id
                                AND (o.confidence > e.confidence
                                     OR (o.confidence = e.confidence AND n.id < m.id)) LIMIT 1 OFFSET 0))
          AND NOT EXISTS (SELECT 1 FROM verdicts c CROSS JOIN tag_paths p
                          WHERE c.image_id = e.image_id AND c.verdict = 'confirm'
                            AND p.descendant_id = c.tag_id AND p.ancestor_id = e.tag_id LIMIT 1 OFFSET 0)
        UNION ALL
        SELECT w.image_id, w.uri, t.name AS tag, CAST(1.0 AS DOUBLE PRECISION) AS confidence,
               'person' AS source, NULL AS model, w.tag_id
        FROM person_tags w JOIN tags t ON t.id = w.tag_id;
CREATE VIEW image_status AS 
        SELECT i.id AS image_id, i.uri, m.name AS model, COALESCE(g.outcome, 'pending') AS outcome,
               g.reason, g.attempts, g.finished_at, g.engine, g.precision, g.loader
        FROM taggings g JOIN images i ON i.id = g.image_id JOIN models m ON m.id = g.model_id;
CREATE VIEW label_scores AS 
        SELECT i.id AS image_id, i.uri, m.name AS model, s.rank, l.key AS label_key,
               l.name AS label, s.confidence
        FROM class_scores s JOIN images i ON i.content_id = s.content_id
        JOIN models m ON m.id = s.model_id
        JOIN labels l ON l.model_id = s.model_id AND l."index" = s.label_index;
CREATE VIEW image_info AS 
        SELECT i.id AS image_id, i.uri, i.size, c.width, c.height, c.format, c.taken_at,
               c.latitude, c.longitude, i.vanished_at
        FROM images i LEFT JOIN contents c ON c.id = i.content_id;
CREATE VIEW stale_counts AS 
        SELECT s.tag_id, t.name AS tag,
               (SELECT COUNT(*) FROM effective_tags e WHERE e.tag_id = s.tag_id) AS images
        FROM stale_tags s JOIN tags t ON t.id = s.tag_id;
CREATE VIEW tag_counts AS 
        SELECT t.name AS tag, n.images
        FROM tag_tallies n JOIN tags t ON t.id = n.tag_id
        WHERE n.images > 0 AND NOT EXISTS (SELECT 1 FROM stale_tags s WHERE s.tag_id = n.tag_id)
        UNION ALL
        SELECT a.tag, a.images FROM stale_counts a WHERE a.images > 0;
CREATE VIEW tag_closure AS 
        SELECT a.name AS ancestor, d.name AS descendant, p.depth
        FROM tag_paths p JOIN tags a ON a.id = p.ancestor_id JOIN tags d ON d.id = p.descendant_id;
CREATE VIEW tag_diff AS 
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
                          AND k.model_id = a.id AND k.tag_id = e.tag_id LIMIT 1 OFFSET 0);
CREATE TRIGGER thresholds_added AFTER INSERT ON thresholds FOR EACH ROW BEGIN 
    INSERT INTO stale_tags (tag_id)
    SELECT p.ancestor_id FROM tag_paths p WHERE p.descendant_id = NEW.tag_id
    ON CONFLICT DO NOTHING; END;
CREATE TRIGGER thresholds_changed AFTER UPDATE ON thresholds FOR EACH ROW BEGIN 
    INSERT INTO stale_tags (tag_id)
    SELECT p.ancestor_id FROM tag_paths p WHERE p.descendant_id = NEW.tag_id
    ON CONFLICT DO NOTHING; END;
CREATE TRIGGER thresholds_removed AFTER DELETE ON thresholds FOR EACH ROW BEGIN 
    INSERT INTO stale_tags (tag_id)
    SELECT p.ancestor_id FROM tag_paths p WHERE p.descendant_id = OLD.tag_id
    ON CONFLICT DO NOTHING; END;
CREATE TRIGGER verdicts_added AFTER INSERT ON verdicts FOR EACH ROW BEGIN 
    INSERT INTO stale_tags (tag_id)
    SELECT DISTINCT up.ancestor_id FROM tag_paths down
    JOIN tag_paths up ON up.descendant_id = down.descendant_id WHERE down.ancestor_id = NEW.tag_id
      AND NOT EXISTS (SELECT 1 FROM tally_keepers)
    ON CONFLICT DO NOTHING; END;
CREATE TRIGGER verdicts_changed AFTER UPDATE ON verdicts FOR EACH ROW BEGIN 
    INSERT INTO stale_tags (tag_id)
    SELECT DISTINCT up.ancestor_id FROM tag_paths down
    JOIN tag_paths up ON up.descendant_id = down.descendant_id WHERE down.ancestor_id = NEW.tag_id
      AND NOT EXISTS (SELECT 1 FROM tally_keepers)
    ON CONFLICT DO NOTHING; END;
CREATE TRIGGER verdicts_removed AFTER DELETE ON verdicts FOR EACH ROW BEGIN 
    INSERT INTO stale_tags (tag_id)
    SELECT DISTINCT up.ancestor_id FROM tag_paths down
    JOIN tag_paths up ON up.descendant_id = down.descendant_id WHERE down.ancestor_id = OLD.tag_id
      AND NOT EXISTS (SELECT 1 FROM tally_keepers)
    ON CONFLICT DO NOTHING; END;
CREATE TRIGGER contents_removed AFTER DELETE ON contents FOR EACH ROW BEGIN 
    DELETE FROM tag_scores WHERE content_id = OLD.id;
    DELETE FROM class_scores WHERE content_id = OLD.id; END;
CREATE TRIGGER models_removed AFTER DELETE ON models FOR EACH ROW BEGIN 
    DELETE FROM tag_scores WHERE model_id = OLD.id;
    DELETE FROM class_scores WHERE model_id = OLD.id; END;
CREATE TRIGGER models_live_changed AFTER UPDATE OF live ON models FOR EACH ROW BEGIN INSERT INTO stale_tags (tag_id) SELECT t.id FROM tags t WHERE true ON CONFLICT DO NOTHING; END;
DELETE FROM "sqlite_sequence";
