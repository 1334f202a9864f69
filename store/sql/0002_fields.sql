-- Schema 2: the users' own fields and keys, tags, captions and full text come into use; changes of
-- what is told about a picture are counted. Never edited once released.

-- op 'meta': a picture's facts, fields, tags, captions or files changed (slot NULL: something that
-- no slot holds, as a root's place)
ALTER TABLE change RENAME TO change_1;
CREATE TABLE change (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    model INTEGER NOT NULL,
    slot INTEGER, -- NULL with 'renumber'
    item INTEGER,
    op TEXT NOT NULL CHECK (op IN ('put', 'remove', 'renumber', 'meta'))
) STRICT;
INSERT INTO change (seq, model, slot, item, op) SELECT seq, model, slot, item, op FROM change_1;
-- seq is never used again, also when no row is left
INSERT INTO sqlite_sequence (name, seq)
    SELECT 'change', seq FROM sqlite_sequence
    WHERE name = 'change_1' AND NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'change');
UPDATE sqlite_sequence
    SET seq = max(seq, (SELECT o.seq FROM sqlite_sequence AS o WHERE o.name = 'change_1'))
    WHERE name = 'change' AND EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'change_1');
DROP TABLE change_1;

-- one type a name
CREATE TABLE field (
    name TEXT NOT NULL PRIMARY KEY COLLATE NOCASE,
    type TEXT NOT NULL CHECK (type IN ('text', 'number', 'date', 'bool'))
) STRICT, WITHOUT ROWID;
INSERT INTO field (name, type)
    SELECT name, min(type) FROM item_field WHERE name <> 'key' GROUP BY name COLLATE NOCASE;

-- how a picture came here; the name an imported vector without a file goes by
ALTER TABLE item ADD COLUMN source TEXT NOT NULL DEFAULT 'file'
    CHECK (source IN ('file', 'upload', 'import'));
ALTER TABLE item ADD COLUMN name TEXT NOT NULL DEFAULT '';

-- checksums as those of item and file
ALTER TABLE item_field ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
UPDATE item_field SET crc = imago_crc(item, name, type, value);
ALTER TABLE caption ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
UPDATE caption SET crc = imago_crc(item, kind, source, vlm_model, prompt_version, text, made_ns);
ALTER TABLE tag ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
UPDATE tag SET crc = imago_crc(name);

-- from slot to item, from item to slot, and whether an item has a file that is there: without a
-- look at the rows, which hold the vectors
CREATE INDEX embedding_by_slot ON embedding (model, slot, item);
CREATE INDEX embedding_by_item ON embedding (item, model, slot);
DROP INDEX file_item;
CREATE INDEX file_item ON file (item, missing_since_ns);

-- U+E000 between two values: a phrase does not reach from one into the other
DELETE FROM item_text;
INSERT INTO item_text (rowid, name, tag, caption, visible)
    SELECT id, n, t, c, s FROM (
        SELECT id,
            coalesce((SELECT group_concat(v, ' ' || char(57344) || ' ') FROM (
                SELECT imago_text(path) AS v FROM file
                WHERE file.item = item.id ORDER BY file.id)), '') AS n,
            coalesce((SELECT group_concat(v, ' ' || char(57344) || ' ') FROM (
                SELECT tag.name AS v FROM item_tag JOIN tag ON tag.id = item_tag.tag
                WHERE item_tag.item = item.id ORDER BY tag.id)), '') AS t,
            coalesce((SELECT group_concat(v, ' ' || char(57344) || ' ') FROM (
                SELECT text AS v FROM caption
                WHERE caption.item = item.id AND kind = 'caption' ORDER BY caption.id)), '') AS c,
            coalesce((SELECT group_concat(v, ' ' || char(57344) || ' ') FROM (
                SELECT text AS v FROM caption
                WHERE caption.item = item.id AND kind = 'visible_text' ORDER BY caption.id)), '')
                AS s
        FROM item)
    WHERE n || t || c || s <> '';

PRAGMA user_version = 2;
