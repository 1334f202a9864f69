-- Schema 3: a line of what was sent says which picture it was and what it cost. Never edited once
-- released.

-- JSON array: the SHA-256 (hexadecimal) of each picture of `items`, also when the item is gone
ALTER TABLE vlm_audit ADD COLUMN pictures TEXT NOT NULL DEFAULT '[]';
UPDATE vlm_audit SET pictures = (SELECT json_group_array(hash) FROM (
    SELECT lower(hex(item.sha256)) AS hash FROM json_each(vlm_audit.items) AS one
    JOIN item ON item.id = one.value ORDER BY one.key))
    WHERE json_valid(items);

-- billionths of the unit that prices are in
ALTER TABLE vlm_audit ADD COLUMN cost_nano INTEGER NOT NULL DEFAULT 0;

PRAGMA user_version = 3;
