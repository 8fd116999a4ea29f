"""The tables of a file catalog, as SQL.

Source: ``cvmfs/catalog_sql.cc`` of CernVM-FS 2.12. Publishers copy rows by position, so the order of columns matters.
"""

SCHEMA = "2.5"
SCHEMA_REVISION = 7
PAGE_SIZE = 1024
"""Bytes; what the stock writer uses and the client's page cache suits best."""

CATALOG_TABLES = (
    "CREATE TABLE properties (key TEXT, value TEXT, CONSTRAINT pk_properties PRIMARY KEY (key))",
    """CREATE TABLE catalog (md5path_1 INTEGER, md5path_2 INTEGER, parent_1 INTEGER, parent_2 INTEGER,
        hardlinks INTEGER, hash BLOB, size INTEGER, mode INTEGER, mtime INTEGER, mtimens INTEGER, flags INTEGER,
        name TEXT, symlink TEXT, uid INTEGER, gid INTEGER, xattr BLOB,
        CONSTRAINT pk_catalog PRIMARY KEY (md5path_1, md5path_2))""",
    "CREATE INDEX idx_catalog_parent ON catalog (parent_1, parent_2)",
    """CREATE TABLE chunks (md5path_1 INTEGER, md5path_2 INTEGER, offset INTEGER, size INTEGER, hash BLOB,
        CONSTRAINT pk_chunks PRIMARY KEY (md5path_1, md5path_2, offset, size),
        FOREIGN KEY (md5path_1, md5path_2) REFERENCES catalog(md5path_1, md5path_2))""",
    """CREATE TABLE nested_catalogs (path TEXT, sha1 TEXT, size INTEGER,
        CONSTRAINT pk_nested_catalogs PRIMARY KEY (path))""",
    """CREATE TABLE bind_mountpoints (path TEXT, sha1 TEXT, size INTEGER,
        CONSTRAINT pk_bind_mountpoints PRIMARY KEY (path))""",
    "CREATE TABLE statistics (counter TEXT, value INTEGER, CONSTRAINT pk_statistics PRIMARY KEY (counter))",
)
"""In the order in which the stock writer creates them."""
