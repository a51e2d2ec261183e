-- A message to many is stored once, in a log. A reader has a cursor in each interval of a log that it reads.
-- The empty name stands for the channel.

CREATE TABLE log (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    grp        TEXT NOT NULL,
    position   INTEGER NOT NULL,                          -- in this log, rising
    id         TEXT NOT NULL UNIQUE,                      -- LIFE.NUMBER
    sender     TEXT NOT NULL,
    recipients INTEGER NOT NULL,
    sent_at    INTEGER NOT NULL,
    kept_at    INTEGER NOT NULL,
    text       TEXT NOT NULL,
    kept_utc   TEXT AS (strftime('%Y-%m-%dT%H:%M:%SZ', kept_at / 1000000, 'unixepoch')),
    UNIQUE (grp, position)
);

-- The first position of a log that is still stored.
CREATE TABLE bases (
    grp  TEXT NOT NULL PRIMARY KEY,
    base INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE cursors (
    reader       TEXT NOT NULL,
    grp          TEXT NOT NULL,
    joined       INTEGER NOT NULL,                        -- the first position of the interval
    next         INTEGER NOT NULL,                        -- the first position that the reader has not acknowledged
    "end"        INTEGER,                                 -- the position after the last one; NULL: reads on
    own_dropped  INTEGER NOT NULL,
    notice       TEXT,                                    -- a notice that is not acknowledged: its id LIFE.NUMBER,
    notice_count INTEGER,                                 -- the number of messages,
    notice_upto  INTEGER,                                 -- and the position after the last one
    PRIMARY KEY (reader, grp, joined)
) WITHOUT ROWID;

INSERT INTO log (seq, grp, position, id, sender, recipients, sent_at, kept_at, text)
    SELECT seq, coalesce(grp, ''), row_number() OVER (PARTITION BY grp ORDER BY seq) - 1, id, sender,
           json_array_length(lacking), sent_at, kept_at, text
    FROM mail WHERE kind <> 'direct' ORDER BY seq;

-- The messages that a reader lacks, as runs of consecutive positions.
INSERT INTO cursors (reader, grp, joined, next, "end", own_dropped)
    SELECT reader, grp, min(position), min(position), max(position) + 1, 0
    FROM (
        SELECT lacks.value AS reader, log.grp, log.position,
               log.position - row_number() OVER (PARTITION BY lacks.value, log.grp ORDER BY log.position) AS run
        FROM log JOIN mail ON mail.seq = log.seq, json_each(mail.lacking) AS lacks
    )
    GROUP BY reader, grp, run;

-- Every name reads the channel from now on.
INSERT INTO cursors (reader, grp, joined, next, "end", own_dropped)
    SELECT names.name, '', ends.position, ends.position, NULL, 0
    FROM names, (SELECT coalesce(max(position) + 1, 0) AS position FROM log WHERE grp = '') AS ends;

DROP VIEW waiting;

CREATE TABLE direct (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    id       TEXT NOT NULL UNIQUE,
    sender   TEXT NOT NULL,
    reader   TEXT NOT NULL,
    sent_at  INTEGER NOT NULL,
    kept_at  INTEGER NOT NULL,
    text     TEXT NOT NULL,
    kept_utc TEXT AS (strftime('%Y-%m-%dT%H:%M:%SZ', kept_at / 1000000, 'unixepoch'))
);

INSERT INTO direct (seq, id, sender, reader, sent_at, kept_at, text)
    SELECT seq, id, sender, json_extract(lacking, '$[0]'), sent_at, kept_at, text FROM mail
    WHERE kind = 'direct' AND json_array_length(lacking) > 0;

-- AUTOINCREMENT goes on above all numbers of the old table. Without a row in the new tables there is no entry yet.
INSERT INTO sqlite_sequence (name, seq)
    SELECT 'direct', seq FROM sqlite_sequence
    WHERE name = 'mail' AND NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'direct');
UPDATE sqlite_sequence SET seq = max(seq, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'mail'), 0))
    WHERE name = 'direct';
DROP TABLE mail;

-- A row for each message and each reader who still lacks it.
CREATE VIEW waiting AS
    SELECT reader, seq, 'direct' AS kind, NULL AS grp, sender, kept_utc AS kept, text FROM direct
    UNION ALL
    SELECT cursors.reader, log.seq, iif(log.grp = '', 'channel', 'group'), nullif(log.grp, ''), log.sender,
           log.kept_utc, log.text
    FROM cursors JOIN log ON log.grp = cursors.grp AND log.position >= cursors.next
        AND log.position < coalesce(cursors."end", 9223372036854775807)
    WHERE log.sender <> cursors.reader
    ORDER BY seq, reader;
