//! A tree with every kind of entry and property, and a comparison of two trees by what the kernel says of them. The
//! comparison shares no code with the program.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, SeekFrom, Timespec, Timestamps, Uid, XattrFlags};

/// 1960-01-01, before the epoch.
pub(crate) const YEAR_1960: i64 = -315_619_200;
/// 2300-01-01, beyond 64-bit nanoseconds.
pub(crate) const YEAR_2300: i64 = 10_413_792_000;

/// `CAP_NET_RAW` permitted and effective, as `setcap` writes it.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// An owner that no host has a name for.
const NOBODY_HERE: Option<Uid> = Some(Uid::from_raw_unchecked(54_321));

/// Fails with what to do where the test does not run as root.
pub(crate) fn need_root() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test makes devices, foreign owners and trusted attributes: run it as root"
    );
}

/// Runs a tool that the test needs.
pub(crate) fn tool(package: &str, command: &mut Command) -> std::process::Output {
    let name = command.get_program().to_string_lossy().into_owned();
    command
        .output()
        .unwrap_or_else(|error| panic!("`{name}` is needed ({error}): apt-get install -y {package}"))
}

/// A path of bytes.
pub(crate) fn bytes(name: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from_vec(name.to_vec()))
}

/// Builds a tree with every kind of entry and property below `dir`, which is an empty folder.
pub(crate) fn build(dir: &Path) {
    need_root();
    content(&dir.join("content"));
    names(&dir.join("names"));
    links(&dir.join("links"));
    nodes(&dir.join("nodes"));
    attributes(&dir.join("attributes"));
    lists(&dir.join("lists"));
    holes(&dir.join("holes"));
    owners(&dir.join("owners"));
    modes(&dir.join("modes"));
    deep(&dir.join("deep"), 300, b"d");
    // Times last: making an entry changes its folder's.
    times(&dir.join("times"));
    set_time(&dir.join("nodes"), YEAR_1960, 1);
    set_time(dir, YEAR_2300, 999_999_999);
}

/// Builds such a tree in a folder that is not there yet.
pub(crate) fn build_into(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    build(dir);
}

/// Makes `levels` folders, one in another, and a file at the bottom, however long the path becomes.
pub(crate) fn deep(dir: &Path, levels: usize, name: &[u8]) {
    fs::create_dir(dir).unwrap();
    let mut at = open(CWD, dir.as_os_str().as_bytes());
    for level in 0..levels {
        rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o750)).unwrap();
        if level % 50 == 7 {
            rustix::fs::symlinkat("nowhere", &at, "zz-link").unwrap();
        }
        at = open(&at, name);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE;
    let file = rustix::fs::openat(&at, "bottom", flags, Mode::from_raw_mode(0o640)).unwrap();
    File::from(file).write_all_at(b"deep", 0).unwrap();
}

fn open(at: impl AsFd, name: &[u8]) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty()).unwrap()
}

fn content(dir: &Path) {
    fs::create_dir(dir).unwrap();
    fs::create_dir(dir.join("empty-folder")).unwrap();
    fs::write(dir.join("empty"), "").unwrap();
    fs::write(dir.join("small"), "small\n").unwrap();
    fs::write(dir.join("exactly-a-mebibyte"), vec![7; 1 << 20]).unwrap();
    let large: Vec<u8> = (0..3_500_003_u32).map(|n| (n % 251).to_le_bytes()[0]).collect();
    fs::write(dir.join("large"), large).unwrap();
    fs::write(dir.join("zeros-that-are-data"), vec![0; 2 << 20]).unwrap();
}

fn names(dir: &Path) {
    fs::create_dir(dir).unwrap();
    let long = [b'n'; 255];
    let umlauts = "\u{e4}".repeat(127);
    let names: [&[u8]; 16] = [
        &long,
        umlauts.as_bytes(),
        b"new\nline",
        b"tab\tand space ",
        b"\xff\xfe not UTF-8",
        b"-dash",
        b"*?[a]{b}",
        b"back\\slash",
        b"quote'\"`$(x)",
        b".hidden",
        b"...",
        b"a.b",
        b"a-b",
        b".data.strongroom-stage-0123456789ab",
        b"\x01control\x7f",
        b"~",
    ];
    for (number, name) in names.iter().enumerate() {
        fs::write(dir.join(bytes(name)), number.to_string()).unwrap();
    }
    // `a` and what lies in it stand before `a.b` in the order of paths, and behind it in the order of bytes.
    fs::create_dir(dir.join("a")).unwrap();
    fs::write(dir.join("a/z"), "z").unwrap();
    fs::create_dir(dir.join(bytes(b"folder \xe4\n"))).unwrap();
    fs::write(dir.join(bytes(b"folder \xe4\n/inner")), "i").unwrap();
}

fn links(dir: &Path) {
    fs::create_dir_all(dir.join("one/two")).unwrap();
    symlink("does-not-exist", dir.join("dangling")).unwrap();
    symlink("/etc/passwd", dir.join("absolute")).unwrap();
    symlink("..", dir.join("up")).unwrap();
    symlink("one", dir.join("to-folder")).unwrap();
    symlink(bytes(b"\xff\n"), dir.join("not-text")).unwrap();
    symlink("l".repeat(4000), dir.join("long")).unwrap();
    fs::write(dir.join("one/file"), "hard").unwrap();
    fs::hard_link(dir.join("one/file"), dir.join("one/two/file")).unwrap();
    fs::hard_link(dir.join("one/file"), dir.join("zz-file")).unwrap();
    fs::write(dir.join("empty"), "").unwrap();
    fs::hard_link(dir.join("empty"), dir.join("empty-too")).unwrap();
    rustix::fs::mkfifoat(CWD, dir.join("fifo"), Mode::from_raw_mode(0o600)).unwrap();
    let (from, to) = (dir.join("dangling"), dir.join("one/dangling-too"));
    rustix::fs::linkat(CWD, from, CWD, to, AtFlags::empty()).unwrap();
    let (from, to) = (dir.join("fifo"), dir.join("one/fifo-too"));
    rustix::fs::linkat(CWD, from, CWD, to, AtFlags::empty()).unwrap();
    rustix::fs::chownat(CWD, dir.join("dangling"), NOBODY_HERE, None, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    set_time(&dir.join("absolute"), YEAR_1960, 123_456_789);
}

fn nodes(dir: &Path) {
    fs::create_dir(dir).unwrap();
    let node = |name: &str, kind, mode, major, minor| {
        let device = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(CWD, dir.join(name), kind, Mode::from_raw_mode(0o600), device).unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    node("fifo", FileType::Fifo, 0o4640, 0, 0);
    node("char", FileType::CharacterDevice, 0o666, 1, 3);
    node("block", FileType::BlockDevice, 0o2660, 4095, 1_048_575);
    let (from, to) = (dir.join("char"), dir.join("char-too"));
    rustix::fs::linkat(CWD, from, CWD, to, AtFlags::empty()).unwrap();
    set_time(&dir.join("fifo"), YEAR_2300, 987_654_321);
    set_time(&dir.join("block"), YEAR_1960, 5);
    for name in ["fifo", "char", "block"] {
        set_attribute(&dir.join(name), "trusted.strongroom", b"\0\x01node");
    }
    rustix::fs::chownat(CWD, dir.join("fifo"), NOBODY_HERE, None, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn set_attribute(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())
        .unwrap_or_else(|error| panic!("{name} on {}: {error}", path.display()));
}

fn attributes(dir: &Path) {
    fs::create_dir(dir).unwrap();
    let file = |name: &str| {
        fs::write(dir.join(name), name).unwrap();
        dir.join(name)
    };
    set_attribute(&file("text"), "user.text", "gr\u{fc}n".as_bytes());
    set_attribute(&dir.join("text"), "user.another", b"value");
    set_attribute(&file("empty-value"), "user.empty", b"");
    let binary: Vec<u8> = (0..4096_u32).map(|n| (n * 7).to_le_bytes()[0]).collect();
    let path = file("binary");
    // A file system with one block for attributes takes a little less than 4 KiB.
    let sizes = [4096, 3900, 3000];
    let set = |n: &usize| rustix::fs::lsetxattr(&path, "user.binary", &binary[..*n], XattrFlags::empty()).is_ok();
    assert!(sizes.iter().any(set), "no extended attributes in the temporary folder");
    set_attribute(&file("odd-name"), "user.n\u{e4}me with = and \n", b"x");
    set_attribute(&file("trusted"), "trusted.overlay.opaque", b"y");
    set_attribute(&file("capability"), "security.capability", &CAPABILITY);
    fs::set_permissions(dir.join("capability"), fs::Permissions::from_mode(0o755)).unwrap();
    rustix::fs::chown(dir.join("text"), NOBODY_HERE, None).unwrap();
    // Capabilities do not survive a change of owner, so this order is the only one that works.
    rustix::fs::chown(dir.join("capability"), NOBODY_HERE, None).unwrap();
    set_attribute(&dir.join("capability"), "security.capability", &CAPABILITY);
    fs::set_permissions(file("read-only"), fs::Permissions::from_mode(0o444)).unwrap();
    set_attribute(&dir.join("read-only"), "user.x", b"y");
    symlink("nowhere", dir.join("link")).unwrap();
    set_attribute(&dir.join("link"), "trusted.on-a-link", b"\xff\0");
    fs::create_dir(dir.join("folder")).unwrap();
    set_attribute(&dir.join("folder"), "user.folder", b"f");
    set_attribute(&dir.join("folder"), "trusted.folder", b"t");
}

fn lists(dir: &Path) {
    fs::create_dir(dir).unwrap();
    let set = |arguments: &[&str], path: &Path| {
        let output = tool("acl", Command::new("setfacl").args(arguments).arg(path));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    fs::write(dir.join("file"), "f").unwrap();
    set(&["-m", "u:54321:rw,g:54322:r,m::r"], &dir.join("file"));
    fs::write(dir.join("wide-mask"), "f").unwrap();
    set(&["-m", "u:54321:rwx,m::rwx"], &dir.join("wide-mask"));
    fs::create_dir(dir.join("folder")).unwrap();
    fs::write(dir.join("folder/before"), "made before the default was set").unwrap();
    fs::create_dir(dir.join("folder/before-folder")).unwrap();
    set(
        &["-m", "u:54321:rwx,d:u:54323:rwx,d:g::-,d:m::rwx"],
        &dir.join("folder"),
    );
    fs::write(dir.join("folder/after"), "inherits").unwrap();
    fs::create_dir(dir.join("folder/after-folder")).unwrap();
    fs::create_dir(dir.join("default-only")).unwrap();
    set(&["-d", "-m", "u:54321:r"], &dir.join("default-only"));
}

fn holes(dir: &Path) {
    fs::create_dir(dir).unwrap();
    let file = |name: &str, size: u64, data: &[(u64, usize)]| {
        let file = File::create(dir.join(name)).unwrap();
        file.set_len(size).unwrap();
        for (offset, length) in data {
            file.write_all_at(&vec![0xab; *length], *offset).unwrap();
        }
        file.sync_all().unwrap();
    };
    let mib = 1 << 20;
    file("leading", 3 * mib, &[(2 * mib, 1 << 20)]);
    file("trailing", 3 * mib + 17, &[(0, 70_000)]);
    file("all", 5 * mib + 1, &[]);
    file("middle", 9 * mib, &[(0, 4096), (4 * mib, 8192), (9 * mib - 4096, 4096)]);
    file("many", 64 * mib, &(0..64).map(|n| (n * mib, 4096)).collect::<Vec<_>>());
    file("odd", 100_001, &[(65_537, 3)]);
    file("huge", 1 << 40, &[(1 << 39, 4096)]);
}

fn owners(dir: &Path) {
    fs::create_dir(dir).unwrap();
    for (name, uid, gid) in [
        ("nameless", 54_321, 54_322),
        ("group", 0, 54_322),
        ("far", 4_294_967_294, 3_000_000_000),
    ] {
        fs::write(dir.join(name), name).unwrap();
        rustix::fs::chown(dir.join(name), Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).unwrap();
    }
    fs::create_dir(dir.join("folder")).unwrap();
    rustix::fs::chown(dir.join("folder"), NOBODY_HERE, Some(Gid::from_raw(54_322))).unwrap();
    fs::write(dir.join("set-id"), "x").unwrap();
    rustix::fs::chown(dir.join("set-id"), NOBODY_HERE, Some(Gid::from_raw(54_322))).unwrap();
    fs::set_permissions(dir.join("set-id"), fs::Permissions::from_mode(0o6755)).unwrap();
}

fn modes(dir: &Path) {
    fs::create_dir(dir).unwrap();
    for mode in [0, 0o400, 0o644, 0o777, 0o1644, 0o2755, 0o4755, 0o6711, 0o7777] {
        let path = dir.join(format!("file-{mode:04o}"));
        fs::write(&path, "m").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let path = dir.join(format!("folder-{mode:04o}"));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inner"), "i").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn times(dir: &Path) {
    fs::create_dir_all(dir.join("folder/inner")).unwrap();
    for (name, seconds, nanoseconds) in [
        ("before-the-epoch", YEAR_1960, 123_456_789),
        ("far", YEAR_2300, 987_654_321),
        ("the-epoch", 0, 0),
        ("one-tick-before", -1, 999_999_999),
        ("beyond-32-bit", 2_147_483_648, 1),
    ] {
        fs::write(dir.join(name), name).unwrap();
        set_time(&dir.join(name), seconds, nanoseconds);
    }
    set_time(&dir.join("folder/inner"), YEAR_1960, 1);
    set_time(&dir.join("folder"), YEAR_2300, 2);
    set_time(dir, -1, 3);
}

/// Sets the time of the last change; a link's own.
pub(crate) fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: seconds,
            tv_nsec: nanoseconds,
        },
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// What the kernel says of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// `file`, `folder`, `link` and so on, with a device's numbers.
    pub(crate) kind: String,
    /// Twelve mode bits.
    pub(crate) mode: u32,
    /// Owner and group.
    pub(crate) owner: (u32, u32),
    /// Seconds and nanoseconds.
    pub(crate) mtime: (i64, i64),
    /// Bytes, 0 for a folder.
    pub(crate) size: i64,
    /// What a link holds.
    pub(crate) target: Option<CString>,
    /// Digest of a file's content.
    pub(crate) content: Option<String>,
    /// Stretches of data in a file.
    pub(crate) data: Vec<(u64, u64)>,
    /// All attributes.
    pub(crate) attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first path of the same inode in this tree.
    pub(crate) first_name: Option<Vec<u8>>,
}

/// Everything below `root`, itself included under an empty path.
pub(crate) fn facts(root: &Path) -> BTreeMap<Vec<u8>, Facts> {
    let mut tree = BTreeMap::new();
    let mut first_names = BTreeMap::new();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::open(root.parent().unwrap(), flags, Mode::empty()).unwrap();
    let name = root.file_name().unwrap().as_bytes();
    tree.insert(Vec::new(), look(parent.as_fd(), name, b"", &mut first_names));
    // Descriptors of all folders from the root on would be too many, so each deep folder is walked to by `..`.
    let mut at = open(&parent, name);
    let mut path: Vec<u8> = Vec::new();
    let mut waiting = vec![list(&at)];
    while let Some(names) = waiting.last_mut() {
        let Some(name) = names.pop() else {
            waiting.pop();
            if !waiting.is_empty() {
                at = open(&at, b"..");
                path.truncate(path.iter().rposition(|b| *b == b'/').unwrap_or(0));
            }
            continue;
        };
        let mut full = path.clone();
        if !full.is_empty() {
            full.push(b'/');
        }
        full.extend_from_slice(&name);
        let facts = look(at.as_fd(), &name, &full, &mut first_names);
        let is_folder = facts.kind == "folder";
        tree.insert(full.clone(), facts);
        if is_folder {
            at = open(&at, &name);
            waiting.push(list(&at));
            path = full;
        }
    }
    tree
}

/// Names from last to first, so that `pop` gives them in order.
fn list(folder: &OwnedFd) -> Vec<Vec<u8>> {
    let entries = Dir::read_from(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_bytes().to_vec());
    let mut names: Vec<_> = entries.filter(|n| n != b"." && n != b"..").collect();
    names.sort_by(|a, b| b.cmp(a));
    names
}

fn look(folder: BorrowedFd<'_>, name: &[u8], path: &[u8], first: &mut BTreeMap<(u64, u64), Vec<u8>>) -> Facts {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    let kind = FileType::from_raw_mode(stat.st_mode);
    let shown = match kind {
        FileType::Directory => "folder".to_owned(),
        FileType::RegularFile => "file".to_owned(),
        FileType::Symlink => "link".to_owned(),
        other => format!("{other:?} {:x}", stat.st_rdev),
    };
    let (content, data) = if kind == FileType::RegularFile {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(folder, name, flags, Mode::empty()).unwrap());
        let data = data(&file, stat.st_size.cast_unsigned());
        (Some(digest(&file, &data)), data)
    } else {
        (None, Vec::new())
    };
    let is_folder = kind == FileType::Directory;
    Facts {
        kind: shown,
        mode: stat.st_mode & 0o7777,
        owner: (stat.st_uid, stat.st_gid),
        mtime: (stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
        size: if is_folder { 0 } else { stat.st_size },
        target: (kind == FileType::Symlink).then(|| rustix::fs::readlinkat(folder, name, Vec::new()).unwrap()),
        content,
        data,
        attributes: attributes_of(folder, name),
        first_name: (!is_folder && stat.st_nlink > 1).then(|| {
            let key = (stat.st_dev, stat.st_ino);
            first.entry(key).or_insert_with(|| path.to_vec()).clone()
        }),
    }
}

fn data(file: &File, size: u64) -> Vec<(u64, u64)> {
    let mut list = Vec::new();
    let mut at = 0;
    while at < size {
        let Ok(start) = rustix::fs::seek(file, SeekFrom::Data(at)) else {
            break;
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start)).unwrap();
        list.push((start, end));
        at = end;
    }
    list
}

/// Of the data only: what lies between is a hole, and where it lies is compared on its own.
fn digest(file: &File, data: &[(u64, u64)]) -> String {
    let mut hasher = blake3::Hasher::new();
    for (start, end) in data {
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        file.read_exact_at(&mut bytes, *start).unwrap();
        hasher.update(&bytes);
    }
    hasher.finalize().to_hex().to_string()
}

fn attributes_of(folder: BorrowedFd<'_>, name: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut path = format!("/proc/self/fd/{}/", folder.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    let mut list = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path.as_slice(), list.as_mut_slice()).unwrap_or(0);
    let names = list[..length].split(|b| *b == 0).filter(|n| !n.is_empty());
    names
        .map(|attribute| {
            let mut value = vec![0; 64 << 10];
            let length = rustix::fs::lgetxattr(path.as_slice(), attribute, value.as_mut_slice()).unwrap();
            value.truncate(length);
            (attribute.to_vec(), value)
        })
        .collect()
}

/// Every difference between two trees, a line each; none where they are the same in every property.
pub(crate) fn differences(a: &Path, b: &Path) -> Vec<String> {
    compare(facts(a), facts(b))
}

/// Every difference between what was seen of two trees, or of one tree twice.
pub(crate) fn compare(mut one: BTreeMap<Vec<u8>, Facts>, mut other: BTreeMap<Vec<u8>, Facts>) -> Vec<String> {
    let paths: Vec<Vec<u8>> = one.keys().chain(other.keys()).cloned().collect();
    let mut lines = Vec::new();
    for path in paths {
        let shown = String::from_utf8_lossy(&path).into_owned();
        match (one.remove(&path), other.remove(&path)) {
            (Some(left), Some(right)) if left != right => lines.push(format!("{shown}: {left:?} and {right:?}")),
            (Some(_), None) => lines.push(format!("{shown}: only in the first")),
            (None, Some(_)) => lines.push(format!("{shown}: only in the second")),
            _ => {}
        }
    }
    lines
}

mod tests {
    use super::*;

    type Change = fn(&Path);

    #[test]
    fn the_comparison_sees_a_difference_in_every_property() {
        need_root();
        let changes: [(&str, Change); 9] = [
            ("mode", |p| {
                fs::set_permissions(p, fs::Permissions::from_mode(0o4644)).unwrap();
            }),
            ("owner", |p| rustix::fs::chown(p, NOBODY_HERE, None).unwrap()),
            ("time", |p| set_time(p, 1, 2)),
            ("content", |p| fs::write(p, "other").unwrap()),
            ("attribute", |p| set_attribute(p, "trusted.x", b"")),
            ("size", |p| {
                File::options().write(true).open(p).unwrap().set_len(99_999).unwrap();
            }),
            ("second name", |p| fs::hard_link(p, p.with_extension("too")).unwrap()),
            ("absence", |p| fs::remove_file(p).unwrap()),
            ("kind", |p| {
                fs::remove_file(p).unwrap();
                symlink("x", p).unwrap();
            }),
        ];
        for (what, change) in changes {
            let dir = tempfile::tempdir().unwrap();
            for side in ["a", "b"] {
                fs::create_dir(dir.path().join(side)).unwrap();
                fs::write(dir.path().join(side).join("file"), "same").unwrap();
                set_time(&dir.path().join(side).join("file"), 5, 5);
                set_time(&dir.path().join(side), 5, 5);
            }
            let differ = || differences(&dir.path().join("a"), &dir.path().join("b"));
            assert_eq!(differ(), Vec::<String>::new());
            change(&dir.path().join("b/file"));
            assert!(!differ().is_empty(), "{what}");
        }
    }

    #[test]
    fn the_comparison_sees_where_the_holes_are() {
        let dir = tempfile::tempdir().unwrap();
        for side in ["a", "b"] {
            fs::create_dir(dir.path().join(side)).unwrap();
        }
        File::create(dir.path().join("a/f")).unwrap().set_len(1 << 20).unwrap();
        fs::write(dir.path().join("b/f"), vec![0; 1 << 20]).unwrap();
        for path in ["a/f", "b/f", "a", "b"] {
            set_time(&dir.path().join(path), 5, 5);
        }
        assert_eq!(differences(&dir.path().join("a"), &dir.path().join("b")).len(), 1);
    }
}
