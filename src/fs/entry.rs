//! One entry of a tree with everything that is kept of it. Paths and names are exact bytes.

use std::collections::BTreeMap;

/// A path below a source's root, or the root itself (empty). Components are joined by `/`; none is empty, `.` or `..`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// The root.
    pub fn root() -> Self {
        Self::default()
    }

    /// Takes a path that may come from outside. `None` where it is absolute, has an empty, `.` or `..` component, or
    /// holds a NUL.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let fits = bytes.is_empty()
            || bytes
                .split(|b| *b == b'/')
                .all(|c| !c.is_empty() && c != b"." && c != b".." && !c.contains(&0));
        fits.then(|| Self(bytes.to_vec()))
    }

    /// The path of the entry `name` in this folder. `None` where `name` is not one component.
    pub fn child(&self, name: &[u8]) -> Option<Self> {
        if name.contains(&b'/') || name.is_empty() {
            return None;
        }
        let mut bytes = self.0.clone();
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        Self::parse(&bytes)
    }

    /// The exact bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The components in order; none for the root.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|c| !c.is_empty())
    }

    /// The folder that holds this entry; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let cut = self.0.iter().rposition(|b| *b == b'/').unwrap_or(0);
        Some(Self(self.0.get(..cut).unwrap_or_default().to_vec()))
    }

    /// The last component; empty for the root.
    pub fn name(&self) -> &[u8] {
        self.components().next_back().unwrap_or_default()
    }

    /// For people: bytes that are not UTF-8 stand as `\xNN`.
    pub fn display(&self) -> String {
        display_bytes(&self.0)
    }
}

/// Text for people of bytes that need not be UTF-8; control characters are escaped too.
pub fn display_bytes(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Component by component, so that a folder's entries stand right behind it.
impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        cmp_paths(&self.0, &other.0)
    }
}

/// Orders two paths as [`TreePath`] does: `/` stands before every other byte, and no name holds a NUL.
pub fn cmp_paths(one: &[u8], other: &[u8]) -> std::cmp::Ordering {
    let shared = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let rank = |byte: Option<&u8>| byte.map(|byte| if *byte == b'/' { 0 } else { *byte });
    rank(one.get(shared)).cmp(&rank(other.get(shared)))
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// A moment: seconds since 1970 (may be negative) and nanoseconds, 0 to 999,999,999, that count forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// Nanoseconds after `seconds`.
    pub nanoseconds: u32,
}

/// A stretch of a file that holds data; what lies between is a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Length in bytes, never 0.
    pub length: u64,
}

/// What kind of thing an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A file with content.
    File {
        /// Apparent size in bytes, holes included.
        size: u64,
        /// Where the data lies, ascending and disjoint; `None` where the file has no hole.
        extents: Option<Vec<Extent>>,
    },
    /// A symbolic link; the target is any bytes.
    Link {
        /// What the link holds.
        target: Vec<u8>,
    },
    /// Another name of a file (or link, FIFO, device) that came before in the same source.
    HardLink {
        /// The path of the first name.
        first: TreePath,
    },
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

impl Kind {
    /// The bytes of content that follow the entry in an archive: all data of a file, without its holes.
    pub fn data_bytes(&self) -> u64 {
        match self {
            Self::File {
                extents: Some(extents), ..
            } => extents.iter().map(|e| e.length).sum(),
            Self::File { size, extents: None } => *size,
            _ => 0,
        }
    }
}

/// What is kept of an entry beside its kind and content. A hard link has its own copy, equal to its first name's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Permission bits with set-id and sticky bits, 0 to 0o7777.
    pub mode: u32,
    /// Owner's number.
    pub uid: u32,
    /// Group's number.
    pub gid: u32,
    /// Owner's name on the captured host, where it has one.
    pub user: Option<String>,
    /// Group's name on the captured host, where it has one.
    pub group: Option<String>,
    /// Last change of content.
    pub mtime: Moment,
    /// Extended attributes by full name (`user.x`, `security.capability`); ACLs are `system.posix_acl_access` and
    /// `system.posix_acl_default` in the kernel's own encoding.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What "unchanged" is decided by. Not restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// Last change of content.
    pub mtime: Moment,
    /// Last change of anything.
    pub ctime: Moment,
}

impl Stat {
    /// Whether a file that looks so is as it was. Device numbers do not count: they change when a volume is mounted anew, and when
    /// a snapshot of it is.
    pub fn is_same_state(&self, other: &Self) -> bool {
        let Self {
            device: _,
            inode,
            size,
            mtime,
            ctime,
        } = other;
        (&self.inode, &self.size, &self.mtime, &self.ctime) == (inode, size, mtime, ctime)
    }
}

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands below its source's root.
    pub path: TreePath,
    /// What it is.
    pub kind: Kind,
    /// What is kept of it.
    pub metadata: Metadata,
    /// What it looked like on the captured host; `None` where it is a copy (a database).
    pub stat: Option<Stat>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_could_leave_the_root_are_refused() {
        for wrong in ["/etc", "..", "a/../b", "a//b", "./a", "a/", "a\0b"] {
            assert_eq!(TreePath::parse(wrong.as_bytes()), None, "{wrong}");
        }
        assert!(TreePath::parse(b"a/\xff/..b").is_some());
    }

    #[test]
    fn order_is_by_component() {
        let path = |text: &str| TreePath::parse(text.as_bytes()).unwrap();
        assert!(path("a/z") < path("a.b"));
        assert!(path("a/z") < path("a\u{1}b"));
        assert!(path("") < path("a"));
        assert!(path("a") < path("a/b"));
        assert_eq!(path("a/b").parent(), Some(path("a")));
        assert_eq!(path("a").parent(), Some(TreePath::root()));
    }

    #[test]
    fn bytes_that_are_not_text_print_escaped() {
        assert_eq!(display_bytes(b"a\xff\n\xc3\xa4"), "a\\xff\\n\u{e4}");
    }
}
