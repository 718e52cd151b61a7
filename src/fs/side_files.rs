//! What SQLite keeps beside a database while it is open. Side file and database are one thing: a database that meets the
//! log of another is silently changed by it.

/// What the names of side files end with.
pub const ENDINGS: [&[u8]; 3] = [b"-wal", b"-shm", b"-journal"];

/// How every database begins.
pub const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The name of the database whose side file this may be.
pub fn database_of(name: &[u8]) -> Option<&[u8]> {
    ENDINGS
        .iter()
        .find_map(|ending| name.strip_suffix(*ending))
        .filter(|stem| !stem.is_empty() && stem.last() != Some(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_file_names_its_database() {
        assert_eq!(database_of(b"a.db-wal"), Some(&b"a.db"[..]));
        assert_eq!(database_of(b"d/a.db-journal"), Some(&b"d/a.db"[..]));
        for other in [&b"-wal"[..], b"d/-shm", b"a.db", b"a.db-wal2"] {
            assert_eq!(database_of(other), None);
        }
    }
}
