-- Times are microseconds since 1970, so that nothing is lost; the columns ending in _utc say the same for people.

CREATE TABLE names (
    name     TEXT NOT NULL PRIMARY KEY,
    addr     TEXT NOT NULL,                               -- IP:PORT
    life     TEXT NOT NULL,                               -- 32 hexadecimal digits
    online   INTEGER NOT NULL CHECK (online IN (0, 1)),
    seen     INTEGER NOT NULL,
    seen_utc TEXT AS (strftime('%Y-%m-%dT%H:%M:%SZ', seen / 1000000, 'unixepoch'))
) WITHOUT ROWID;

CREATE TABLE groups (
    name    TEXT NOT NULL PRIMARY KEY,
    creator TEXT NOT NULL,
    life    TEXT NOT NULL,                                -- the creator's, 32 hexadecimal digits
    request TEXT NOT NULL                                 -- its number in that life, up to 2^64-1
) WITHOUT ROWID;

-- AUTOINCREMENT remembers the highest seq in sqlite_sequence, also when its message is gone.
-- The text stands last: to read the other columns, its pages need not be read.
CREATE TABLE mail (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    id       TEXT NOT NULL UNIQUE,                        -- LIFE.NUMBER
    kind     TEXT NOT NULL CHECK (kind IN ('direct', 'channel', 'group')),
    sender   TEXT NOT NULL,
    grp      TEXT,
    sent_at  INTEGER NOT NULL,
    kept_at  INTEGER NOT NULL,
    lacking  TEXT NOT NULL,                               -- a JSON array of names, in order
    text     TEXT NOT NULL,
    kept_utc TEXT AS (strftime('%Y-%m-%dT%H:%M:%SZ', kept_at / 1000000, 'unixepoch'))
);

CREATE TABLE receipts (
    seq      INTEGER PRIMARY KEY,                         -- that of the message
    owner    TEXT NOT NULL,
    id       TEXT NOT NULL,
    reader   TEXT NOT NULL,
    kept_at  INTEGER NOT NULL,
    kept_utc TEXT AS (strftime('%Y-%m-%dT%H:%M:%SZ', kept_at / 1000000, 'unixepoch'))
);

-- A row for each message and each reader who still lacks it.
CREATE VIEW waiting AS
    SELECT lacks.value AS reader, mail.seq, mail.kind, mail.grp, mail.sender, mail.kept_utc AS kept, mail.text
    FROM mail, json_each(mail.lacking) AS lacks
    ORDER BY mail.seq, lacks.value;
