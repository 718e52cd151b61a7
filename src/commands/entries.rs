//! Entries of backups as they are shown: a line for people, as `tar -tv` writes it, and all that is known of them for programs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::archive::catalog::Listed;
use crate::archive::reading::path::BackupPath;
use crate::fs::entry::{Kind, Moment, display_bytes};
use crate::units::ByteCount;

/// The name of a kind, as the catalog has it.
pub(super) const fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Folder => "folder",
        Kind::File { .. } => "file",
        Kind::Link { .. } => "link",
        Kind::HardLink { .. } => "hard-link",
        Kind::Fifo => "fifo",
        Kind::CharDevice { .. } => "char-device",
        Kind::BlockDevice { .. } => "block-device",
    }
}

/// A line: mode, owner, size, time and path.
pub(super) fn line(listed: &Listed) -> String {
    let metadata = &listed.entry.metadata;
    let owner = |name: &Option<String>, number: u32| match name {
        Some(name) => display_bytes(name.as_bytes()),
        None => number.to_string(),
    };
    let owners = [
        owner(&metadata.user, metadata.uid),
        owner(&metadata.group, metadata.gid),
    ]
    .join("/");
    let kind = &listed.entry.kind;
    let path = BackupPath::of(listed).display();
    let behind = match kind {
        Kind::Link { target } => format!(" -> {}", display_bytes(target)),
        Kind::HardLink { first } => format!(" link to {}", BackupPath::new(&listed.source, first).display()),
        _ => String::new(),
    };
    format!(
        "{} {owners:<17} {:>10} {} {path}{behind}",
        mode(kind, metadata.mode),
        size(kind),
        time(metadata.mtime),
    )
}

/// The size of a file, the numbers of a device.
pub(super) fn size(kind: &Kind) -> String {
    match kind {
        Kind::File { size, .. } => ByteCount(*size).to_string(),
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => format!("{major},{minor}"),
        Kind::Folder | Kind::Link { .. } | Kind::HardLink { .. } | Kind::Fifo => String::from("-"),
    }
}

/// The time in UTC to the second.
pub(super) fn time(moment: Moment) -> String {
    match Timestamp::from_second(moment.seconds) {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        // A year that no calendar of ours reaches.
        Err(_) => format!("@{}", moment.seconds),
    }
}

fn mode(kind: &Kind, mode: u32) -> String {
    let first = match kind {
        Kind::Folder => 'd',
        Kind::File { .. } => '-',
        Kind::Link { .. } => 'l',
        Kind::HardLink { .. } => 'h',
        Kind::Fifo => 'p',
        Kind::CharDevice { .. } => 'c',
        Kind::BlockDevice { .. } => 'b',
    };
    let mut text = String::from(first);
    for (shift, special, set, alone) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let bits = mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, false) => alone,
            (true, true) => set,
        });
    }
    text
}

/// Bytes under `key`; those that are not UTF-8 also in base64 under `<key>-b64`.
fn put(object: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        object.insert(key.into(), text.into());
    } else {
        object.insert(key.into(), display_bytes(bytes).into());
        object.insert(format!("{key}-b64"), BASE64.encode(bytes).into());
    }
}

/// The path alone.
pub(super) fn path(path: &BackupPath) -> Map<String, Value> {
    let mut object = Map::new();
    put(&mut object, "path", &path.to_bytes());
    object
}

/// What an entry is: its kind and what belongs to that.
pub(super) fn kind(object: &mut Map<String, Value>, source: &crate::id::SourceName, kind: &Kind) {
    object.insert("kind".into(), kind_name(kind).into());
    match kind {
        Kind::File { size, extents } => {
            object.insert("size".into(), (*size).into());
            if extents.is_some() {
                object.insert("data-bytes".into(), kind.data_bytes().into());
            }
        }
        Kind::Link { target } => put(object, "target", target),
        Kind::HardLink { first } => put(object, "first", &BackupPath::new(source, first).to_bytes()),
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            object.insert("device".into(), json!([major, minor]));
        }
        Kind::Folder | Kind::Fifo => {}
    }
}

/// Everything that is known of an entry.
pub(super) fn value(listed: &Listed) -> Map<String, Value> {
    let mut object = path(&BackupPath::of(listed));
    kind(&mut object, &listed.source, &listed.entry.kind);
    let metadata = &listed.entry.metadata;
    object.insert("mode".into(), format!("{:04o}", metadata.mode).into());
    object.insert("uid".into(), metadata.uid.into());
    object.insert("gid".into(), metadata.gid.into());
    object.insert("user".into(), json!(metadata.user));
    object.insert("group".into(), json!(metadata.group));
    object.insert("mtime".into(), moment(metadata.mtime));
    if !metadata.xattrs.is_empty() {
        let names = metadata.xattrs.keys().map(|name| display_bytes(name));
        object.insert("attributes".into(), names.collect::<Vec<_>>().into());
    }
    if let Some(digest) = &listed.blake3 {
        object.insert("blake3".into(), json!(digest));
    }
    for (key, set) in [("redacted", listed.redacted), ("changing", listed.changing)] {
        if set {
            object.insert(key.into(), true.into());
        }
    }
    object
}

/// Seconds and nanoseconds, as in the catalog.
pub(super) fn moment(moment: Moment) -> Value {
    json!([moment.seconds, moment.nanoseconds])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::entry::{Entry, Metadata, TreePath};

    fn listed(path: &[u8], kind: Kind, mode: u32) -> Listed {
        Listed {
            source: "data".parse().unwrap(),
            entry: Entry {
                path: TreePath::parse(path).unwrap(),
                kind,
                metadata: Metadata {
                    mode,
                    uid: 7,
                    user: Some("a\u{1b}b".into()),
                    mtime: Moment {
                        seconds: -1,
                        nanoseconds: 5,
                    },
                    ..Metadata::default()
                },
                stat: None,
            },
            blake3: None,
            place: None,
            redacted: false,
            changing: false,
        }
    }

    #[test]
    fn a_line_reads_as_that_of_tar_and_holds_no_control_character() {
        let target = b"x\n\xff".to_vec();
        let line = line(&listed(b"l\x07\xfe", Kind::Link { target }, 0o4755));
        assert!(line.starts_with("lrwsr-xr-x a\\u{1b}b/0 "), "{line}");
        assert!(
            line.ends_with(" 1969-12-31T23:59:59Z data/l\\u{7}\\xfe -> x\\n\\xff"),
            "{line}"
        );
    }

    #[test]
    fn special_bits_show_whether_there_is_something_under_them() {
        assert_eq!(mode(&Kind::Folder, 0o1777), "drwxrwxrwt");
        assert_eq!(mode(&Kind::Fifo, 0o7000), "p--S--S--T");
    }

    #[test]
    fn programs_get_exact_bytes() {
        let object = value(&listed(b"a\xff\n", Kind::File { size: 3, extents: None }, 0o600));
        assert_eq!(object["path"], "data/a\\xff\\n");
        assert_eq!(object["path-b64"], BASE64.encode(b"data/a\xff\n"));
        let object = value(&listed(b"a\n", Kind::Folder, 0o600));
        assert_eq!(object["path"], "data/a\n");
        assert_eq!((&object["mode"], &object["mtime"]), (&json!("0600"), &json!([-1, 5])));
    }

    #[test]
    fn a_time_beyond_every_calendar_is_shown_as_a_number() {
        let moment = |seconds| Moment {
            seconds,
            nanoseconds: 0,
        };
        assert_eq!(time(moment(i64::MAX)), "@9223372036854775807");
        assert_eq!(time(moment(0)), "1970-01-01T00:00:00Z");
    }
}
