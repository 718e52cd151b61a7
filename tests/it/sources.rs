//! Capture: what a source hands on is the tree as it is, whatever happens to the tree meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags};
use strongroom::diagnostic::{Code, Diagnose};
use strongroom::event::{Event, Events, Listener};
use strongroom::fs::entry::{Entry, Kind, Moment, TreePath};
use strongroom::fs::owners::Owners;
use strongroom::source::{
    CaptureContext, Captured, Form, Guards, SinkError, Source, SourceError, SourceKind, TreeSink, Verdict,
};

/// What a sink was given of one entry.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) entry: Entry,
    pub(crate) data: Vec<u8>,
    verdict: Verdict,
}

pub(crate) type Hook<'a> = Box<dyn FnMut(&Hooked<'_>) -> Result<(), SinkError> + 'a>;

/// When a hook is called.
pub(crate) enum Hooked<'a> {
    Begin(&'a Entry),
    Write(&'a Entry),
}

/// Records what it is given and holds the source to its promises.
#[derive(Default)]
pub(crate) struct Recorder<'a> {
    given: Vec<Given>,
    index: HashMap<TreePath, usize>,
    superseded: Vec<Given>,
    open: Option<Given>,
    hook: Option<Hook<'a>>,
}

impl TreeSink for Recorder<'_> {
    fn begin(&mut self, entry: &Entry) -> Result<(), SinkError> {
        assert!(self.open.is_none(), "begin within an entry");
        if let Some(hook) = &mut self.hook {
            hook(&Hooked::Begin(entry))?;
        }
        self.check_order(entry);
        self.open = Some(Given {
            entry: entry.clone(),
            data: Vec::new(),
            verdict: Verdict::Kept,
        });
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), SinkError> {
        let given = self.open.as_mut().expect("write outside of an entry");
        assert!(!data.is_empty());
        given.data.extend_from_slice(data);
        if let Some(hook) = &mut self.hook {
            hook(&Hooked::Write(&given.entry))?;
        }
        Ok(())
    }

    fn end(&mut self, verdict: Verdict) -> Result<(), SinkError> {
        let mut given = self.open.take().expect("end outside of an entry");
        assert_eq!(
            given.data.len() as u64,
            given.entry.kind.data_bytes(),
            "{:?}",
            given.entry
        );
        given.verdict = verdict;
        match verdict {
            Verdict::Superseded => self.superseded.push(given),
            Verdict::Kept | Verdict::KeptChanging => {
                self.index.insert(given.entry.path.clone(), self.given.len());
                self.given.push(given);
            }
        }
        Ok(())
    }
}

impl Recorder<'_> {
    fn check_order(&self, entry: &Entry) {
        let path = &entry.path;
        match self.given.last() {
            None => assert!(path.is_root(), "the root comes first"),
            Some(last) => assert!(
                last.entry.path < *path,
                "{} before {}",
                last.entry.path.display(),
                path.display()
            ),
        }
        if let Some(parent) = path.parent() {
            assert_eq!(
                self.get_path(&parent).map(|given| &given.entry.kind),
                Some(&Kind::Folder)
            );
        }
        if let Kind::HardLink { first } = &entry.kind {
            let first = self.get_path(first).expect("the first name was given");
            assert!(!matches!(first.entry.kind, Kind::Folder | Kind::HardLink { .. }));
        }
    }

    fn get_path(&self, path: &TreePath) -> Option<&Given> {
        self.given.get(*self.index.get(path)?)
    }

    pub(crate) fn get(&self, path: &str) -> &Given {
        let parsed = TreePath::parse(path.as_bytes()).unwrap();
        self.get_path(&parsed)
            .unwrap_or_else(|| panic!("`{path}` was not given; given: {:?}", self.paths()))
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.given.iter().map(|given| given.entry.path.display()).collect()
    }
}

pub(crate) fn source(kind: &str, settings: serde_json::Value) -> Source {
    Source {
        name: "data".parse().unwrap(),
        kind: SourceKind::decode(kind, settings).unwrap(),
        guards: Guards::default(),
    }
}

fn files(path: &Path) -> Source {
    source("files", serde_json::json!({ "path": path }))
}

/// A place to capture from and a spool.
pub(crate) struct Scene {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) spool: tempfile::TempDir,
    stop: AtomicBool,
    events: Events,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            spool: tempfile::tempdir().unwrap(),
            stop: AtomicBool::new(false),
            events: Events::none(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn capture_into(&self, source: &Source, sink: &mut Recorder<'_>) -> Result<Captured, SourceError> {
        let context = CaptureContext {
            events: &self.events,
            spool: self.spool.path().to_owned(),
            owners: &Owners::of_host().unwrap(),
            stop: &self.stop,
        };
        source.capture(self.dir.path(), sink, &context)
    }

    pub(crate) fn capture(&self, source: &Source) -> (Recorder<'static>, Captured) {
        let mut sink = Recorder::default();
        let captured = self.capture_into(source, &mut sink).unwrap();
        assert!(sink.open.is_none());
        assert_eq!(captured.entries, sink.given.len() as u64);
        let sizes = sink.given.iter().map(|given| match given.entry.kind {
            Kind::File { size, .. } => size,
            _ => 0,
        });
        assert_eq!(captured.bytes, sizes.sum::<u64>());
        (sink, captured)
    }

    /// Captures with a hook that may do something to the tree, or stop the capture.
    pub(crate) fn capture_while<'a>(
        &self,
        source: &Source,
        hook: impl FnMut(&Hooked<'_>) -> Result<(), SinkError> + 'a,
    ) -> (Recorder<'a>, Result<Captured, SourceError>) {
        let mut sink = Recorder {
            hook: Some(Box::new(hook)),
            ..Recorder::default()
        };
        let captured = self.capture_into(source, &mut sink);
        sink.hook = None;
        (sink, captured)
    }
}

/// A hook that does something once, when the entry `path` begins or is first written.
fn once<'a>(
    begin: bool,
    path: &'a str,
    mut act: impl FnMut() + 'a,
) -> impl FnMut(&Hooked<'_>) -> Result<(), SinkError> + 'a {
    let mut done = false;
    move |moment| {
        let entry = match moment {
            Hooked::Begin(entry) if begin => entry,
            Hooked::Write(entry) if !begin => entry,
            _ => return Ok(()),
        };
        if !done && entry.path.as_bytes() == path.as_bytes() {
            done = true;
            act();
        }
        Ok(())
    }
}

pub(crate) fn codes(captured: &Captured) -> Vec<Code> {
    captured.warnings.iter().map(|warning| warning.code).collect()
}

pub(crate) fn needs_root() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test makes device nodes and foreign owners: run it as root"
    );
}

/// Runs `body` on a thread that has given up root's rights.
pub(crate) fn as_nobody<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    needs_root();
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let nobody = rustix::fs::Uid::from_raw(65534);
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
                body()
            })
            .join()
            .unwrap()
    })
}

pub(crate) fn set_times(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// `security.capability` as the kernel keeps it: one permitted capability.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// An ACL with a named user as the kernel keeps it.
fn acl() -> Vec<u8> {
    let entry = |tag: u16, permissions: u16, id: u32| {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let none = u32::MAX;
    [
        2_u32.to_le_bytes().to_vec(),
        entry(0x01, 7, none),
        entry(0x02, 5, 1234),
        entry(0x04, 5, none),
        entry(0x10, 5, none),
        entry(0x20, 0, none),
    ]
    .concat()
}

/// Makes one entry of every kind below `root`.
fn make_every_kind(scene: &Scene) {
    let at = |name: &str| scene.path(name);
    scene.write("root/file", "content");
    fs::set_permissions(at("root/file"), fs::Permissions::from_mode(0o6751)).unwrap();
    std::os::unix::fs::chown(at("root/file"), Some(1), Some(54_321)).unwrap();
    fs::set_permissions(at("root/file"), fs::Permissions::from_mode(0o6751)).unwrap();
    let set = |name: &str, attribute: &str, value: &[u8]| {
        rustix::fs::lsetxattr(at(name), attribute, value, XattrFlags::empty()).unwrap();
    };
    set("root/file", "user.empty", b"");
    set("root/file", "user.binary", &[0, 255, 10, 0]);
    set("root/file", "trusted.note", b"kept");
    set("root/file", "security.capability", &CAPABILITY);
    fs::create_dir(at("root/folder")).unwrap();
    set("root/folder", "system.posix_acl_access", &acl());
    set("root/folder", "system.posix_acl_default", &acl());
    fs::set_permissions(at("root/folder"), fs::Permissions::from_mode(0o1750)).unwrap();
    symlink(OsStr::from_bytes(b"/nowhere/\xff"), at("root/link")).unwrap();
    set("root/link", "trusted.link", b"on the link itself");
    rustix::fs::mkfifoat(CWD, at("root/pipe"), Mode::from_raw_mode(0o604)).unwrap();
    set("root/pipe", "trusted.pipe", b"p");
    let device = |name: &str, kind, major, minor| {
        let number = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(CWD, at(name), kind, Mode::RUSR, number).unwrap();
    };
    device("root/null", FileType::CharacterDevice, 1, 3);
    device("root/disk", FileType::BlockDevice, 259, 70_000);
    set("root/null", "security.label", b"x");
    set_times(&at("root/file"), -315_619_200, 123_456_789);
    set_times(&at("root/link"), 10_413_792_000, 1);
    set_times(&at("root"), 5, 6);
}

#[test]
fn every_kind_of_entry_comes_with_all_its_metadata() {
    needs_root();
    let scene = Scene::new();
    make_every_kind(&scene);
    let at = |name: &str| scene.path(name);
    let (sink, captured) = scene.capture(&files(&at("root")));
    assert_eq!(captured.warning_count, 0, "{:?}", captured.warnings);
    assert_eq!(captured.form, Form::Folder);
    assert_eq!(sink.paths(), ["", "disk", "file", "folder", "link", "null", "pipe"]);
    let root = &sink.get("").entry;
    assert_eq!((root.metadata.mtime.seconds, root.metadata.mtime.nanoseconds), (5, 6));

    let file = sink.get("file");
    assert_eq!(file.data, b"content");
    assert_eq!(file.entry.metadata.mode, 0o6751);
    assert_eq!((file.entry.metadata.uid, file.entry.metadata.gid), (1, 54_321));
    assert_eq!(file.entry.metadata.user.as_deref(), Owners::of_host().unwrap().user(1));
    assert_eq!(file.entry.metadata.group, None);
    let mtime = Moment {
        seconds: -315_619_200,
        nanoseconds: 123_456_789,
    };
    assert_eq!(file.entry.metadata.mtime, mtime);
    let expected: BTreeMap<Vec<u8>, Vec<u8>> = [
        (&b"security.capability"[..], &CAPABILITY[..]),
        (b"trusted.note", b"kept"),
        (b"user.binary", &[0, 255, 10, 0]),
        (b"user.empty", b""),
    ]
    .iter()
    .map(|(name, value)| (name.to_vec(), value.to_vec()))
    .collect();
    assert_eq!(file.entry.metadata.xattrs, expected);
    let stat = file.entry.stat.unwrap();
    let disk = fs::metadata(at("root/file")).unwrap();
    assert_eq!((stat.inode, stat.size, stat.device), (disk.ino(), 7, disk.dev()));

    let folder = &sink.get("folder").entry.metadata;
    assert_eq!(folder.mode, 0o1750);
    assert_eq!(folder.xattrs[&b"system.posix_acl_default"[..]], acl());
    assert_eq!(folder.xattrs[&b"system.posix_acl_access"[..]], acl());
    let link = &sink.get("link").entry;
    let target = b"/nowhere/\xff".to_vec();
    assert_eq!(link.kind, Kind::Link { target });
    assert_eq!(link.metadata.xattrs[&b"trusted.link"[..]], b"on the link itself");
    assert_eq!(link.metadata.mtime.seconds, 10_413_792_000);
    assert_eq!(sink.get("pipe").entry.kind, Kind::Fifo);
    assert_eq!(sink.get("pipe").entry.metadata.mode, 0o604);
    assert_eq!(sink.get("pipe").entry.metadata.xattrs[&b"trusted.pipe"[..]], b"p");
    assert_eq!(sink.get("null").entry.kind, Kind::CharDevice { major: 1, minor: 3 });
    assert_eq!(sink.get("null").entry.metadata.xattrs[&b"security.label"[..]], b"x");
    let block = Kind::BlockDevice {
        major: 259,
        minor: 70_000,
    };
    assert_eq!(sink.get("disk").entry.kind, block);
}

#[test]
fn further_names_are_hard_links_to_the_first() {
    let scene = Scene::new();
    scene.write("a/first", "x");
    scene.write("c/alone", "y");
    fs::hard_link(scene.path("a/first"), scene.path("a/second")).unwrap();
    fs::hard_link(scene.path("a/first"), scene.path("c/third")).unwrap();
    symlink("x", scene.path("a/link")).unwrap();
    fs::hard_link(scene.path("a/link"), scene.path("c/link")).unwrap();
    rustix::fs::mkfifoat(CWD, scene.path("a/pipe"), Mode::RUSR).unwrap();
    fs::hard_link(scene.path("a/pipe"), scene.path("c/pipe")).unwrap();
    // A second name outside of the source does not make a hard link.
    let outside = Scene::new();
    fs::hard_link(scene.path("c/alone"), outside.path("other")).unwrap();
    let (sink, _) = scene.capture(&files(scene.dir.path()));
    let first = |path: &str| match &sink.get(path).entry.kind {
        Kind::HardLink { first } => Some(first.display()),
        _ => None,
    };
    assert_eq!(first("a/first"), None);
    assert_eq!(first("a/second").as_deref(), Some("a/first"));
    assert_eq!(first("c/third").as_deref(), Some("a/first"));
    assert_eq!(first("c/link").as_deref(), Some("a/link"));
    assert_eq!(first("c/pipe").as_deref(), Some("a/pipe"));
    assert_eq!(first("c/alone"), None);
}

#[test]
fn a_hard_link_never_points_to_a_name_that_was_left_out() {
    let scene = Scene::new();
    scene.write("a", "x");
    fs::hard_link(scene.path("a"), scene.path("b")).unwrap();
    let source = source(
        "files",
        serde_json::json!({ "path": scene.dir.path(), "exclude": ["a"] }),
    );
    let (sink, _) = scene.capture(&source);
    assert_eq!(sink.get("b").data, b"x");
}

#[test]
fn holes_are_kept_as_holes() {
    let scene = Scene::new();
    let make = |name: &str, size: u64, data: &[(u64, usize)]| {
        let file = File::create(scene.path(name)).unwrap();
        file.set_len(size).unwrap();
        for (offset, length) in data {
            file.write_all_at(&vec![7; *length], *offset).unwrap();
        }
    };
    make("all-hole", 64 << 20, &[]);
    make("leading", 9 << 20, &[(8 << 20, 1 << 20)]);
    make(
        "middle",
        64 << 20,
        &[(0, 4096), (32 << 20, 3 << 20), ((64 << 20) - 10, 10)],
    );
    make("small", 512 << 10, &[(256 << 10, 4096)]);
    make("dense", 3 << 20, &[(0, 3 << 20)]);
    let (sink, captured) = scene.capture(&files(scene.dir.path()));
    assert_eq!(captured.warning_count, 0);
    for name in ["all-hole", "leading", "middle", "small", "dense"] {
        let given = sink.get(name);
        let Kind::File { size, extents } = &given.entry.kind else {
            panic!("{name} is no file")
        };
        let mut whole = vec![0; usize::try_from(*size).unwrap()];
        let mut data = given.data.as_slice();
        for extent in extents.as_ref().unwrap_or(&vec![strongroom::fs::entry::Extent {
            offset: 0,
            length: *size,
        }]) {
            let (now, rest) = data.split_at(usize::try_from(extent.length).unwrap());
            let offset = usize::try_from(extent.offset).unwrap();
            whole[offset..offset + now.len()].copy_from_slice(now);
            data = rest;
        }
        assert!(whole == fs::read(scene.path(name)).unwrap(), "{name}");
        assert_eq!(
            extents.is_none(),
            name == "dense",
            "{name} (does the temporary folder know holes?)"
        );
    }
    assert_eq!(sink.get("all-hole").data.len(), 0);
    assert!(sink.get("middle").data.len() < 4 << 20);
}

#[test]
fn a_large_file_that_changes_is_read_again_with_fresh_metadata() {
    let scene = Scene::new();
    scene.write("big", vec![1; 3 << 20]);
    let act = || {
        let file = OpenOptions::new().write(true).open(scene.path("big")).unwrap();
        file.set_len(2 << 20).unwrap();
        fs::set_permissions(scene.path("big"), fs::Permissions::from_mode(0o604)).unwrap();
    };
    let (sink, captured) = scene.capture_while(&files(scene.dir.path()), once(false, "big", act));
    let captured = captured.unwrap();
    assert_eq!(captured.warning_count, 0);
    assert_eq!(
        (sink.superseded.len(), captured.entries, captured.bytes),
        (1, 2, 2 << 20)
    );
    assert!(
        sink.superseded[0].data.ends_with(&vec![0; 1 << 20]),
        "the missing end is filled with zeros"
    );
    assert_eq!(sink.get("big").data, vec![1; 2 << 20]);
    assert_eq!(sink.get("big").entry.metadata.mode, 0o604);
}

#[test]
fn a_large_file_that_shrinks_to_a_small_one_is_kept_as_that() {
    let scene = Scene::new();
    scene.write("big", vec![1; 3 << 20]);
    let (sink, captured) = scene.capture_while(
        &files(scene.dir.path()),
        once(false, "big", || scene.write("big", "short")),
    );
    assert_eq!(captured.unwrap().warning_count, 0);
    assert_eq!(
        (sink.superseded.len(), sink.get("big").data.as_slice()),
        (1, &b"short"[..])
    );
}

#[test]
fn a_large_file_that_changes_all_the_time_is_kept_with_a_warning() {
    let scene = Scene::new();
    scene.write("big", vec![1; 3 << 20]);
    let (sink, captured) = scene.capture_while(&files(scene.dir.path()), |moment| {
        if matches!(moment, Hooked::Write(_)) {
            let mut file = OpenOptions::new().append(true).open(scene.path("big")).unwrap();
            file.write_all(b"more").unwrap();
        }
        Ok(())
    });
    let captured = captured.unwrap();
    assert_eq!(codes(&captured), [Code::SourceChanging]);
    assert_eq!(sink.superseded.len(), 2);
    assert_eq!(sink.get("big").verdict, Verdict::KeptChanging);
    assert!(sink.get("big").data.starts_with(&vec![1; 3 << 20]));
}

#[test]
fn a_large_file_that_is_replaced_is_kept_as_it_was() {
    let scene = Scene::new();
    scene.write("big", vec![1; 3 << 20]);
    scene.write("big.new", "new");
    let act = || fs::rename(scene.path("big.new"), scene.path("big")).unwrap();
    let (sink, captured) = scene.capture_while(&files(&scene.path("big")), once(false, "big", act));
    assert_eq!(captured.unwrap().warning_count, 0);
    assert_eq!(sink.get("big").data, vec![1; 3 << 20]);
    assert_eq!(sink.get("big").verdict, Verdict::Kept);
}

/// Ends a writer when the test does, a failed one too.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_small_file_that_changes_all_the_time_is_kept_with_a_warning() {
    let scene = Scene::new();
    scene.write("busy", vec![1; 900 << 10]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = OpenOptions::new().write(true).open(scene.path("busy")).unwrap();
            let mut at = 0;
            while !stop.load(Ordering::Relaxed) {
                at = (at + 1) % (900 << 10);
                file.write_all_at(&[2], at).unwrap();
            }
        });
        let _stop = StopOnDrop(&stop);
        let seen = (0..5000).any(|_| {
            let (sink, captured) = scene.capture(&files(scene.dir.path()));
            let busy = sink.get("busy");
            assert_eq!(busy.data.len(), 900 << 10);
            assert!(sink.superseded.is_empty());
            assert_eq!(captured.warning_count, u64::from(busy.verdict == Verdict::KeptChanging));
            busy.verdict == Verdict::KeptChanging && codes(&captured) == [Code::SourceChanging]
        });
        assert!(
            seen,
            "no capture of a file under constant change was told apart from one at rest"
        );
    });
}

#[test]
fn a_fifo_put_in_a_files_place_does_not_block() {
    let scene = Scene::new();
    scene.write("a", "1");
    scene.write("b", "2");
    let act = || {
        fs::remove_file(scene.path("b")).unwrap();
        rustix::fs::mkfifoat(CWD, scene.path("b"), Mode::RUSR).unwrap();
    };
    let (sink, captured) = scene.capture_while(&files(scene.dir.path()), once(true, "a", act));
    assert_eq!(captured.unwrap().warning_count, 0);
    assert_eq!(sink.get("b").entry.kind, Kind::Fifo);
}

#[test]
fn a_link_put_in_a_folders_place_is_not_followed() {
    let outside = Scene::new();
    outside.write("secret", "not to be read");
    let scene = Scene::new();
    scene.write("a", "1");
    scene.write("b/inner", "2");
    scene.write("b/other", "3");
    let swap = || {
        fs::rename(scene.path("b"), outside.path("moved")).unwrap();
        symlink(outside.dir.path(), scene.path("b")).unwrap();
    };
    // Before the folder is opened it is the link that is found, afterwards the folder itself, wherever it is.
    let (sink, captured) = scene.capture_while(&files(scene.dir.path()), once(true, "a", swap));
    captured.unwrap();
    assert!(matches!(sink.get("b").entry.kind, Kind::Link { .. }));
    assert_eq!(sink.paths(), ["", "a", "b"]);

    fs::remove_file(scene.path("b")).unwrap();
    fs::rename(outside.path("moved"), scene.path("b")).unwrap();
    let (sink, captured) = scene.capture_while(&files(scene.dir.path()), once(true, "b/inner", swap));
    captured.unwrap();
    assert_eq!(sink.paths(), ["", "a", "b", "b/inner", "b/other"]);
}

#[test]
fn what_vanishes_between_listing_and_reading_is_passed_over() {
    let scene = Scene::new();
    scene.write("a", "1");
    scene.write("b", "2");
    scene.write("c/d", "3");
    let act = || {
        fs::remove_file(scene.path("b")).unwrap();
        fs::remove_dir_all(scene.path("c")).unwrap();
    };
    let (sink, captured) = scene.capture_while(&files(scene.dir.path()), once(true, "a", act));
    assert_eq!(captured.unwrap().warning_count, 0);
    assert_eq!(sink.paths(), ["", "a"]);
}

#[test]
fn names_are_exact_bytes() {
    let scene = Scene::new();
    let names: [&[u8]; 5] = [&[b'n'; 255], b"new\nline", b"\xff\xfe", b" ", "\u{1f980}".as_bytes()];
    for name in names {
        fs::write(scene.dir.path().join(OsStr::from_bytes(name)), name).unwrap();
    }
    let (sink, _) = scene.capture(&files(scene.dir.path()));
    for name in names {
        let given = sink.get_path(&TreePath::parse(name).unwrap()).unwrap();
        assert_eq!(given.data, name);
    }
}

#[test]
fn a_tree_deeper_than_any_path_may_be_is_captured_whole() {
    let scene = Scene::new();
    let open = |at: &OwnedFd, name: &str| {
        rustix::fs::openat(
            at,
            name,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .unwrap()
    };
    let long = "d".repeat(250);
    let mut at = OwnedFd::from(File::open(scene.dir.path()).unwrap());
    for level in 0..300 {
        // A name behind the folder, so that the walk has to come back to each level.
        for (name, content) in [("before", "b"), ("zz-after", "a")] {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
            let mut file = File::from(rustix::fs::openat(&at, name, flags, Mode::RUSR).unwrap());
            write!(file, "{content}{level}").unwrap();
        }
        rustix::fs::mkdirat(&at, long.as_str(), Mode::RWXU).unwrap();
        at = open(&at, &long);
    }
    let (sink, captured) = scene.capture(&files(scene.dir.path()));
    assert_eq!(captured.warning_count, 0, "{:?}", captured.warnings);
    assert_eq!(sink.given.len(), 1 + 300 * 3);
    let deep = vec![long.as_str(); 299].join("/");
    assert!(deep.len() > 70_000);
    assert_eq!(sink.get(&format!("{deep}/zz-after")).data, b"a299");
    assert_eq!(sink.get("zz-after").data, b"a0");
}

#[test]
fn a_folder_deeper_than_the_bound_is_told_and_left_out() {
    let scene = Scene::new();
    let root = scene.path("root");
    fs::create_dir(&root).unwrap();
    let depth = strongroom::limits::TREE_DEPTH + 1;
    let mut at = OwnedFd::from(File::open(&root).unwrap());
    for _ in 0..depth {
        rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
        at = rustix::fs::openat(
            &at,
            "d",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .unwrap();
    }
    let (sink, captured) = scene.capture(&files(&root));
    assert_eq!(codes(&captured), [Code::SourceUnsupported]);
    assert_eq!(sink.given.len(), depth - 1);
    // Taken apart from above, because removing it all at once would hold a descriptor a level.
    while fs::exists(root.join("d/d")).unwrap() {
        fs::rename(root.join("d/d"), root.join("e")).unwrap();
        fs::remove_dir(root.join("d")).unwrap();
        fs::rename(root.join("e"), root.join("d")).unwrap();
    }
}

#[test]
fn a_folder_moved_away_while_the_walk_is_far_below_it_is_told() {
    let scene = Scene::new();
    let deep = vec!["d"; 200].join("/");
    fs::create_dir_all(scene.path(&deep)).unwrap();
    // The walk has given up the descriptors of the upper levels when it is at the bottom.
    scene.write("d/d/d/zz", "x");
    scene.write(&format!("{deep}/file"), "x");
    let elsewhere = Scene::new();
    let bottom = format!("{deep}/file");
    let act = || fs::rename(scene.path("d/d/d/d"), elsewhere.path("d")).unwrap();
    let (sink, captured) = scene.capture_while(&files(scene.dir.path()), once(true, &bottom, act));
    assert_eq!(captured.unwrap().warning_count, 0);
    assert_eq!(sink.get("d/d/d/zz").data, b"x", "found again from the root");

    fs::rename(elsewhere.path("d"), scene.path("d/d/d/d")).unwrap();
    let act = || {
        fs::rename(scene.path("d/d/d"), elsewhere.path("d")).unwrap();
        fs::create_dir(scene.path("d/d/d")).unwrap();
        fs::rename(elsewhere.path("d/d"), elsewhere.path("e")).unwrap();
    };
    let (_, captured) = scene.capture_while(&files(scene.dir.path()), once(true, &bottom, act));
    assert_eq!(codes(&captured.unwrap()), [Code::SourceUnreadable]);
}

#[test]
fn excluded_entries_are_left_out_with_everything_in_them() {
    let scene = Scene::new();
    for name in [
        "keep",
        "a.tmp",
        "d/b.tmp",
        "cache/x",
        "d/cache/y",
        "logs/old/z",
        "d/logs/old/z",
        "top",
    ] {
        scene.write(name, "x");
    }
    let exclude = ["*.tmp", "cache/", "logs/old", "/top"];
    let source = source(
        "files",
        serde_json::json!({ "path": scene.dir.path(), "exclude": exclude }),
    );
    let (sink, _) = scene.capture(&source);
    assert_eq!(
        sink.paths(),
        ["", "d", "d/logs", "d/logs/old", "d/logs/old/z", "keep", "logs"]
    );
    let selects = source
        .selects(scene.dir.path(), scene.dir.path(), Form::Folder)
        .unwrap();
    let selects = |path: &str, is_folder| selects.selects(&TreePath::parse(path.as_bytes()).unwrap(), is_folder);
    assert!(selects("keep", false) && selects("d/logs/old/z", false) && selects("new", false));
    assert!(!selects("d/cache/y", false) && !selects("a.tmp", false) && !selects("logs/old", true));
}

#[test]
fn a_glob_captures_its_matches_and_the_folders_on_the_way() {
    let scene = Scene::new();
    for name in ["a/x.db", "a/y.txt", "b/z.txt", "c/d.db/inner", "w.db", "e/f/g.db"] {
        scene.write(name, "x");
    }
    let glob = |pattern: &str| {
        let path = format!("{}/{pattern}", scene.dir.path().display());
        scene
            .capture(&source("files", serde_json::json!({ "path": path })))
            .0
            .paths()
    };
    assert_eq!(glob("*/*.db"), ["", "a", "a/x.db", "c", "c/d.db", "c/d.db/inner"]);
    assert_eq!(glob("*.db"), ["", "w.db"]);
    assert_eq!(glob("{a,e/f}/*.db"), ["", "a", "a/x.db", "e", "e/f", "e/f/g.db"]);
    assert_eq!(glob("**/g.db"), ["", "e", "e/f", "e/f/g.db"]);
    assert_eq!(glob("nothing*"), [""]);
}

#[test]
fn one_file_is_captured_alone_in_its_folder() {
    let scene = Scene::new();
    scene.write("config/a[1].toml", "x");
    scene.write("config/a1.toml", "y");
    // As a filled template arrives: its glob character stands for itself.
    let source = source("files", serde_json::json!({ "path": "config/a[[]1].toml" }));
    let (sink, captured) = scene.capture(&source);
    assert_eq!(
        (sink.paths(), captured.form),
        (vec![String::new(), "a[1].toml".into()], Form::File)
    );
    assert_eq!(source.root(scene.dir.path()), scene.path("config"));
    fs::remove_dir_all(scene.path("config")).unwrap();
    assert_eq!(source.root_as(scene.dir.path(), Form::File), scene.path("config"));
}

#[test]
fn what_cannot_be_kept_is_told_and_left_out() {
    needs_root();
    let scene = Scene::new();
    scene.write("root/readable", "x");
    scene.write("root/closed", "x");
    scene.write("root/shut/inner", "x");
    fs::hard_link(scene.path("root/closed"), scene.path("root/closed2")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(scene.path("root/socket")).unwrap();
    for (name, mode) in [
        ("root/closed", 0o000),
        ("root/shut", 0o000),
        ("", 0o755),
        ("root/readable", 0o644),
    ] {
        fs::set_permissions(scene.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let source = files(&scene.path("root"));
    let (paths, captured) = as_nobody(|| {
        let (sink, captured) = scene.capture(&source);
        (sink.paths(), captured)
    });
    assert_eq!(paths, ["", "readable"]);
    let expected = [
        Code::SourceUnreadable,
        Code::SourceUnreadable,
        Code::SourceUnreadable,
        Code::SourceUnsupported,
    ];
    assert_eq!(codes(&captured), expected);
    for (warning, name) in captured.warnings.iter().zip(["closed", "closed2", "shut", "socket"]) {
        assert!(warning.what.contains(&format!("/{name}`")), "{}", warning.what);
        assert!(warning.state.as_ref().unwrap().contains("not in the backup"));
    }
    let survey = as_nobody(|| source.survey(scene.dir.path(), &Owners::default()).unwrap());
    assert_eq!((survey.entries, survey.bytes, survey.left_out), (4, 2, 2));
}

#[test]
fn other_file_systems_are_left_alone_when_asked() {
    // The kernel's own file systems lie inside each other on every host.
    let scene = Scene::new();
    let device = |path: &str| fs::metadata(path).unwrap().dev();
    assert!(
        device("/dev") != device("/dev/shm"),
        "this test needs /dev/shm to be a mount point"
    );
    let name = format!("strongroom-{}", std::process::id());
    fs::create_dir(Path::new("/dev/shm").join(&name)).unwrap();
    let source = |one: bool| {
        // Braces around one letter make it a glob below `/dev`.
        let settings = serde_json::json!({ "path": format!("/dev/{{s}}hm/{name}"), "one-file-system": one });
        source("files", settings)
    };
    let shm = |one: bool| {
        let (sink, _) = scene.capture(&source(one));
        sink.paths().contains(&format!("shm/{name}"))
    };
    let (all, one) = (shm(false), shm(true));
    fs::remove_dir(Path::new("/dev/shm").join(&name)).unwrap();
    assert!(all && !one);
}

#[test]
fn a_missing_source_says_so() {
    let scene = Scene::new();
    for (kind, path, expected) in [
        ("files", "gone", Code::SourceMissing),
        ("append-log", "gone/*.log", Code::SourceMissing),
        ("append-log", "*.log", Code::SourceEmpty),
        ("sqlite", "*.db", Code::SourceEmpty),
    ] {
        let source = source(kind, serde_json::json!({ "path": path }));
        let (_, captured) = scene.capture_while(&source, |_| Ok(()));
        let error = captured.unwrap_err();
        assert_eq!(error.code(), expected, "{kind} {path}");
        assert_eq!(error.code().exit().number(), 5);
        assert!(error.help().unwrap().contains("`data`"));
    }
}

#[test]
fn a_stopped_run_ends_between_blocks() {
    let scene = Scene::new();
    scene.write("a", vec![0; 3 << 20]);
    scene.write("b", "x");
    let (sink, captured) = scene.capture_while(
        &files(scene.dir.path()),
        once(false, "a", || scene.stop.store(true, Ordering::Relaxed)),
    );
    assert!(matches!(captured, Err(SourceError::Stopped)));
    assert_eq!(sink.open.unwrap().data.len(), 1 << 20);
    // A sink that takes no more ends the capture at once, with the sink's own word.
    let scene = Scene::new();
    scene.write("a", "x");
    let (_, captured) = scene.capture_while(&files(scene.dir.path()), |_| Err(SinkError::Stopped));
    assert!(matches!(captured, Err(SourceError::Stopped)));
}

#[derive(Default)]
struct Heard(Mutex<Vec<Event>>);

impl Listener for Heard {
    fn hear(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

#[test]
fn progress_adds_up_to_all_that_was_read() {
    let mut scene = Scene::new();
    let heard = Arc::new(Heard::default());
    scene.events.add(heard.clone());
    for number in 0..600 {
        scene.write(&format!("f{number}"), "xyz");
    }
    scene.write("big", vec![0; 9 << 20]);
    let (_, captured) = scene.capture(&files(scene.dir.path()));
    let heard = heard.0.lock().unwrap();
    assert!(matches!(&heard[0], Event::SourceStarted { source } if source == "data"));
    let sums = heard.iter().fold((0, 0), |sums, event| match event {
        Event::SourceRead { entries, bytes } => (sums.0 + entries, sums.1 + bytes),
        _ => sums,
    });
    assert_eq!(sums, (captured.entries, captured.bytes));
    assert!((3..20).contains(&heard.len()), "{} events", heard.len());
}

#[test]
fn a_log_is_cut_behind_its_last_whole_record() {
    let scene = Scene::new();
    scene.write("log/1.jsonl", "one\ntwo\nhalf");
    scene.write("log/2.jsonl", "three\n");
    // Longer than a step of the search for the last line end.
    let torn = [&b"four\n"[..], &vec![b'x'; 200 << 10]].concat();
    scene.write("log/3.jsonl", &torn);
    symlink("3.jsonl", scene.path("log/current")).unwrap();
    scene.write("log/sub/4.jsonl", "not part of it\n");
    let (sink, captured) = scene.capture(&source("append-log", serde_json::json!({ "path": "log" })));
    assert_eq!(sink.paths(), ["", "1.jsonl", "2.jsonl", "3.jsonl", "current"]);
    assert_eq!(sink.get("1.jsonl").data, b"one\ntwo\nhalf");
    assert_eq!(sink.get("3.jsonl").data, b"four\n");
    assert_eq!(codes(&captured), [Code::LogUnfinished, Code::SourceUnsupported]);
    let all = b"one\ntwo\nhalfthree\nfour\n";
    let head = captured.log_head.unwrap();
    assert_eq!((head.length, head.records), (all.len() as u64, 4));
    assert_eq!(head.blake3, blake3::hash(all).into());
}

#[test]
fn a_log_without_a_line_end_or_a_file_is_empty() {
    let scene = Scene::new();
    scene.write("log/1", "torn");
    let log = source("append-log", serde_json::json!({ "path": "log" }));
    let (sink, captured) = scene.capture(&log);
    assert_eq!(sink.get("1").data, b"");
    assert_eq!(captured.log_head.as_ref().unwrap().length, 0);
    fs::remove_file(scene.path("log/1")).unwrap();
    let (sink, captured) = scene.capture(&log);
    assert_eq!(
        (sink.paths(), captured.log_head.unwrap().records),
        (vec![String::new()], 0)
    );
}

#[test]
fn one_log_file_is_a_log() {
    let scene = Scene::new();
    scene.write("log/events", "1\n2\n3");
    scene.write("log/other", "x\n");
    let (sink, captured) = scene.capture(&source("append-log", serde_json::json!({ "path": "log/events" })));
    assert_eq!(sink.paths(), ["", "events"]);
    assert_eq!(captured.log_head.unwrap().records, 2);
}

#[test]
fn a_log_with_a_file_that_cannot_be_read_is_not_captured() {
    needs_root();
    let scene = Scene::new();
    scene.write("log/1", "1\n");
    scene.write("log/2", "2\n");
    for (name, mode) in [("log/1", 0o000), ("log/2", 0o644), ("log", 0o755), ("", 0o755)] {
        fs::set_permissions(scene.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let log = source("append-log", serde_json::json!({ "path": "log" }));
    let code = as_nobody(|| scene.capture_while(&log, |_| Ok(())).1.unwrap_err().code());
    assert_eq!(code, Code::SourceFailed);
}

#[test]
fn a_log_that_shrinks_while_it_is_read_stops_the_capture() {
    let scene = Scene::new();
    scene.write("log", "line\n".repeat(1 << 20));
    let act = || {
        OpenOptions::new()
            .write(true)
            .open(scene.path("log"))
            .unwrap()
            .set_len(10)
            .unwrap();
    };
    let log = source("append-log", serde_json::json!({ "path": "log" }));
    let (_, captured) = scene.capture_while(&log, once(false, "log", act));
    let error = captured.unwrap_err();
    assert_eq!((error.code(), error.code().exit().number()), (Code::LogShrank, 5));
}

#[test]
fn a_log_that_grows_while_it_is_read_is_kept_as_far_as_announced() {
    let scene = Scene::new();
    scene.write("log", "line\n".repeat(1 << 20));
    let act = || {
        let mut file = OpenOptions::new().append(true).open(scene.path("log")).unwrap();
        file.write_all(b"later\n").unwrap();
    };
    let log = source("append-log", serde_json::json!({ "path": "log" }));
    let (sink, captured) = scene.capture_while(&log, once(false, "log", act));
    assert_eq!(captured.unwrap().log_head.unwrap().records, 1 << 20);
    assert!(sink.superseded.is_empty());
    assert_eq!(sink.get("log").verdict, Verdict::Kept);
}

#[test]
fn a_log_under_a_writer_is_always_a_prefix_of_what_it_becomes() {
    let scene = Scene::new();
    fs::create_dir(scene.path("log")).unwrap();
    let log = source("append-log", serde_json::json!({ "path": "log" }));
    let mut prefixes = Vec::new();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for segment in 0..8 {
                let mut file = File::create(scene.path(&format!("log/{segment}"))).unwrap();
                for record in 0..2000_usize {
                    // In two writes, so that records are torn now and then.
                    write!(file, "{{\"segment\":{segment},\"record\":{record},").unwrap();
                    writeln!(file, "\"pad\":\"{}\"}}", "x".repeat(record % 97)).unwrap();
                }
            }
        });
        while !writer.is_finished() {
            let (sink, captured) = scene.capture(&log);
            assert_eq!(captured.warning_count, 0, "{:?}", captured.warnings);
            let data: Vec<u8> = sink.given.iter().flat_map(|given| given.data.clone()).collect();
            let head = captured.log_head.unwrap();
            assert_eq!(head.blake3, blake3::hash(&data).into());
            assert_eq!(head.length, data.len() as u64);
            prefixes.push(data);
        }
    });
    let mut names: Vec<_> = fs::read_dir(scene.path("log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    let whole: Vec<u8> = names.iter().flat_map(|path| fs::read(path).unwrap()).collect();
    for data in prefixes {
        assert!(data.is_empty() || data.ends_with(b"\n"));
        assert!(whole.starts_with(&data));
    }
}
