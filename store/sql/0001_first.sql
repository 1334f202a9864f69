-- Schema 1. Never edited once released: what changes comes as 0002_….sql.
-- Numbers that are unsigned 64 bit in C (sizes, devices, inodes, hashes) keep their bits as signed.
-- Times end in _ns (nanoseconds since 1970 UTC) or _s (seconds). `crc` is imago_crc() over the
-- columns before it, in their order (docs/formats/library.md).

PRAGMA application_id = 0x494d4147;
PRAGMA user_version = 1;

CREATE TABLE setting (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- folders that were added
CREATE TABLE root (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path BLOB NOT NULL UNIQUE, -- absolute, raw bytes
    recursive INTEGER NOT NULL,
    watch INTEGER NOT NULL DEFAULT 0,
    vlm_allowed INTEGER NOT NULL DEFAULT 1,
    online INTEGER NOT NULL DEFAULT 1,
    added_ns INTEGER NOT NULL
) STRICT;

-- one row per picture, by content
CREATE TABLE item (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sha256 BLOB NOT NULL UNIQUE CHECK (length(sha256) = 32),
    bytes INTEGER NOT NULL,
    format TEXT NOT NULL,
    width INTEGER NOT NULL,  -- after orientation
    height INTEGER NOT NULL,
    phash INTEGER NOT NULL,
    partial INTEGER NOT NULL,
    taken_s INTEGER,          -- the camera's local clock
    taken_offset_min INTEGER, -- NULL: not known
    latitude REAL,
    longitude REAL,
    camera TEXT NOT NULL,
    lens TEXT NOT NULL,
    added_ns INTEGER NOT NULL,
    crc INTEGER NOT NULL
) STRICT;

-- one row per path
CREATE TABLE file (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    root INTEGER NOT NULL REFERENCES root (id) ON DELETE CASCADE,
    path BLOB NOT NULL, -- below the root, raw bytes
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    hashed_ns INTEGER NOT NULL,
    edges INTEGER NOT NULL, -- hash of the first and last 64 KiB, 0: not known
    item INTEGER NOT NULL REFERENCES item (id) ON DELETE CASCADE,
    crc INTEGER NOT NULL,
    missing_since_ns INTEGER, -- NULL: was there when last looked for
    UNIQUE (root, path)
) STRICT;
CREATE INDEX file_item ON file (item);
CREATE INDEX file_stamp ON file (inode, device);
CREATE INDEX file_missing ON file (missing_since_ns) WHERE missing_since_ns IS NOT NULL;

CREATE TABLE model (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    folder BLOB NOT NULL, -- a path: raw bytes
    digest TEXT NOT NULL UNIQUE,
    files TEXT NOT NULL, -- JSON: name, size, mtime_ns, inode of each file
    family TEXT NOT NULL,
    dim INTEGER NOT NULL CHECK (dim > 0),
    precision TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('building', 'active', 'retired')),
    relevance TEXT, -- JSON: the fit of cosines to probabilities
    background_rows INTEGER NOT NULL,
    background_crc INTEGER NOT NULL, -- CRC-32C of the next column
    background BLOB NOT NULL         -- [background_rows, dim] f32 little-endian
) STRICT;
CREATE UNIQUE INDEX model_active ON model (state) WHERE state = 'active';

CREATE TABLE embedding (
    item INTEGER NOT NULL REFERENCES item (id) ON DELETE CASCADE,
    model INTEGER NOT NULL REFERENCES model (id),
    slot INTEGER NOT NULL CHECK (slot >= 0),
    precision TEXT NOT NULL,
    crc INTEGER NOT NULL,  -- CRC-32C of the next column
    vector BLOB NOT NULL,  -- [dim] f32 little-endian
    UNIQUE (item, model),
    UNIQUE (model, slot)
) STRICT;

-- slots of removed items: not used again before the next renumbering
CREATE TABLE dead_slot (
    model INTEGER NOT NULL REFERENCES model (id),
    slot INTEGER NOT NULL,
    PRIMARY KEY (model, slot)
) STRICT, WITHOUT ROWID;

-- what the files in index/ must hold to be believed
CREATE TABLE index_file (
    model INTEGER NOT NULL REFERENCES model (id),
    name TEXT NOT NULL, -- 'vectors' for vectors.<generation>.f32
    generation INTEGER NOT NULL,
    n_rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL DEFAULT 0,
    digest TEXT NOT NULL DEFAULT '',
    change_seq INTEGER NOT NULL DEFAULT 0, -- holds what `change` says up to here
    PRIMARY KEY (model, name)
) STRICT, WITHOUT ROWID;

-- our change counter; only the newest rows are kept, seq is never used again
CREATE TABLE change (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    model INTEGER NOT NULL,
    slot INTEGER, -- NULL with 'renumber'
    item INTEGER,
    op TEXT NOT NULL CHECK (op IN ('put', 'remove', 'renumber'))
) STRICT;

-- the users' own typed fields; the one named 'key' is unique, so that adding again replaces
CREATE TABLE item_field (
    item INTEGER NOT NULL REFERENCES item (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    type TEXT NOT NULL CHECK (type IN ('text', 'number', 'date', 'bool')),
    value ANY NOT NULL,
    PRIMARY KEY (item, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX item_field_value ON item_field (name, value);
CREATE UNIQUE INDEX item_field_key ON item_field (value) WHERE name = 'key';

CREATE TABLE caption (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    item INTEGER NOT NULL REFERENCES item (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('caption', 'visible_text')),
    source TEXT NOT NULL CHECK (source IN ('user', 'file', 'vlm')),
    vlm_model TEXT,
    prompt_version TEXT,
    text TEXT NOT NULL,
    made_ns INTEGER NOT NULL
) STRICT;
CREATE INDEX caption_item ON caption (item);

CREATE TABLE tag (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE
) STRICT;

CREATE TABLE item_tag (
    item INTEGER NOT NULL REFERENCES item (id) ON DELETE CASCADE,
    tag INTEGER NOT NULL REFERENCES tag (id) ON DELETE CASCADE,
    source TEXT NOT NULL CHECK (source IN ('user', 'file', 'vlm')),
    vlm_model TEXT,
    PRIMARY KEY (item, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX item_tag_tag ON item_tag (tag);

-- full text; rowid = item id
CREATE VIRTUAL TABLE item_text USING fts5 (
    name, tag, caption, visible, tokenize = 'unicode61 remove_diacritics 2'
);

CREATE TABLE failure (
    id INTEGER PRIMARY KEY,
    root INTEGER NOT NULL REFERENCES root (id) ON DELETE CASCADE,
    path BLOB NOT NULL,
    reason TEXT NOT NULL, -- a row of base/reasons.def
    message TEXT NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    when_ns INTEGER NOT NULL,
    UNIQUE (root, path)
) STRICT;

-- content the user removed: scans leave it out
CREATE TABLE removed (
    sha256 BLOB NOT NULL PRIMARY KEY CHECK (length(sha256) = 32),
    removed_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE job (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed', 'stopped')),
    arguments TEXT NOT NULL, -- JSON
    progress TEXT,           -- JSON
    error TEXT,              -- JSON, as in an answer
    made_ns INTEGER NOT NULL,
    started_ns INTEGER,
    ended_ns INTEGER
) STRICT;
CREATE INDEX job_state ON job (state);

CREATE TABLE saved_search (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    query TEXT NOT NULL, -- JSON
    made_ns INTEGER NOT NULL
) STRICT;

CREATE TABLE api_key (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32), -- SHA-256; the key itself is not kept
    rights TEXT NOT NULL,
    made_ns INTEGER NOT NULL,
    expires_ns INTEGER,
    revoked_ns INTEGER,
    used_ns INTEGER
) STRICT;

CREATE TABLE vlm_cache (
    key BLOB NOT NULL PRIMARY KEY CHECK (length(key) = 32), -- SHA-256 of all that was sent
    model TEXT NOT NULL,
    prompt_version TEXT NOT NULL,
    answer TEXT NOT NULL, -- JSON
    made_ns INTEGER NOT NULL,
    used_ns INTEGER NOT NULL
) STRICT;
CREATE INDEX vlm_cache_used ON vlm_cache (used_ns);

-- what left this machine, and for whom
CREATE TABLE vlm_audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    when_ns INTEGER NOT NULL,
    host TEXT NOT NULL,
    model TEXT NOT NULL,
    purpose TEXT NOT NULL,
    items TEXT NOT NULL, -- JSON array of item ids
    bytes_sent INTEGER NOT NULL,
    tokens INTEGER,
    ms INTEGER NOT NULL,
    outcome TEXT NOT NULL
) STRICT;
CREATE INDEX vlm_audit_when ON vlm_audit (when_ns);
