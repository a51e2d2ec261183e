-- The public key of the name's user, 64 hexadecimal digits. All zeros stand for none: names of format 1 have no key.
ALTER TABLE names ADD COLUMN key TEXT NOT NULL
    DEFAULT '0000000000000000000000000000000000000000000000000000000000000000';
