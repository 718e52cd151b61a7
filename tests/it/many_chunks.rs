//! As many chunks as a large host has, through the engine from capture to reading: memory is bounded, and all of it reads back.
//!
//! The files are made while they are read, so 100 GB of them need no disk of their own. Everything else is the engine's own: the sink, frames, packs, seals, catalog, record and memory of a backup, in a folder. Each step is a process of
//! its own, as a run of the program is, so that the most memory that it ever had is its own too.

mod synthetic;

use std::collections::HashSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use strongroom::archive::catalog::Listed;
use strongroom::archive::chunks::arrived::{Ledger, Placed};
use strongroom::archive::chunks::base::Base;
use strongroom::archive::chunks::index::Index;
use strongroom::archive::chunks::item::Item;
use strongroom::archive::chunks::sink::Settings;
use strongroom::archive::chunks::store::{self, Storing};
use strongroom::archive::epoch::{self, HostEpoch, HostEpochs};
use strongroom::archive::keys::Opening;
use strongroom::archive::pack::Packed;
use strongroom::archive::reading::Reading;
use strongroom::archive::reading::extract::{Taker, extract};
use strongroom::archive::record::Record;
use strongroom::archive::repository::{self, Repository};
use strongroom::archive::unpack::{BackupSink, unpack};
use strongroom::crypto::Digest;
use strongroom::crypto::age::Identity;
use strongroom::crypto::note::Signer;
use strongroom::event::Events;
use strongroom::fs::entry::{Entry, Kind, Metadata, Moment, Stat, TreePath};
use strongroom::id::SourceName;
use strongroom::source::{SinkError, TreeSink, Verdict};
use strongroom::target::{Access, Target, TargetSettings};

use synthetic::{Content, File, Shape, Synthetic};

/// Chunks in the tests that are always run. `MANY_CHUNKS` in the environment asks for another number.
const CHUNKS: u64 = 4_000;
/// At full size.
const CHUNKS_TORTURE: u64 = 400_000;
/// Bytes of memory that no step may exceed, at whatever size.
const MEMORY: u64 = 200_000_000;
/// Names the folder and what is to be done there to a process of its own.
const STEP: &str = "STRONGROOM_TEST_STEP";
const REPOSITORY: &str = "many chunks";

/// What happens to a repository, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The first backup.
    First,
    /// One more, of the same files, which look as they did.
    Unchanged,
    /// One more, in which a chunk of one file is another one.
    Changed,
    /// All of the last backup, as it is verified and restored.
    Read,
    /// The same as it is exported.
    Export,
    /// The same by someone who keeps all that they are given.
    Hoard,
}

impl Step {
    const ALL: [(Self, &'static str); 6] = [
        (Self::First, "first backup"),
        (Self::Unchanged, "nothing changed"),
        (Self::Changed, "one chunk changed"),
        (Self::Read, "all read, as by verify and restore"),
        (Self::Export, "all read, as by export"),
        (Self::Hoard, "all read and kept"),
    ];
    const HONEST: [Self; 5] = [Self::First, Self::Unchanged, Self::Changed, Self::Read, Self::Export];

    fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(step, _)| *step == self).unwrap().1
    }

    fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|(_, of)| *of == name).unwrap().0
    }

    /// Which backup it is, where it makes one.
    const fn sequence(self) -> u64 {
        match self {
            Self::First => 1,
            Self::Unchanged => 2,
            Self::Changed | Self::Read | Self::Export | Self::Hoard => 3,
        }
    }
}

/// A repository in a folder, what a host remembers of it, and the keys to it.
struct Scene {
    folder: PathBuf,
    shape: Shape,
    chunks: u64,
}

impl Scene {
    fn new(folder: &Path, shape: Shape, chunks: u64) -> Self {
        let identity = Identity::generate().unwrap();
        let epoch = HostEpoch::create(&[identity.recipient()], "2026-11-28T00:00:00Z").unwrap();
        std::fs::write(folder.join("epochs"), HostEpochs(vec![epoch]).to_bytes(REPOSITORY)).unwrap();
        std::fs::write(folder.join("identity"), identity.text().expose()).unwrap();
        for inner in ["target", "spool", "pages"] {
            std::fs::create_dir(folder.join(inner)).unwrap();
        }
        Self {
            folder: folder.to_owned(),
            shape,
            chunks,
        }
    }

    /// Does `step` in a process of its own; gives the most memory that it had, in bytes.
    fn run(&self, step: Step) -> u64 {
        let began = std::time::Instant::now();
        let words = [self.shape.name(), step.name(), &self.chunks.to_string()].join("\n");
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "many_chunks::step_process", "--nocapture"])
            .env(STEP, format!("{}\n{words}", self.folder.display()))
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {told}{errors}", step.name());
        let memory = told.lines().find_map(|line| line.strip_prefix("memory: "));
        let memory: u64 = memory.unwrap_or_else(|| panic!("{told}{errors}")).parse().unwrap();
        let line = format!(
            "{} {} chunks\t{}\t{:.1} s\t{} MB",
            self.chunks,
            self.shape.name(),
            step.name(),
            began.elapsed().as_secs_f64(),
            memory / 1_000_000
        );
        let mut out = std::io::stderr();
        writeln!(out, "{line}").unwrap();
        memory
    }

    fn epoch(&self) -> HostEpoch {
        let bytes = std::fs::read(self.folder.join("epochs")).unwrap();
        HostEpochs::parse(&bytes, REPOSITORY)
            .unwrap()
            .current()
            .unwrap()
            .clone()
    }

    fn target(&self) -> Target {
        let settings = TargetSettings::of_url("file:target");
        Target::open("local".parse().unwrap(), &settings, &self.folder, &Access::default()).unwrap()
    }

    /// The files as they are in the backup that `step` makes or reads.
    fn files(&self, step: Step) -> Synthetic {
        let files = Synthetic::new(self.shape, self.chunks, self.epoch().chunk_key.seed());
        match step {
            Step::First | Step::Unchanged => files,
            Step::Changed | Step::Read | Step::Export | Step::Hoard => files.changed(),
        }
    }

    async fn last(&self) -> Option<(Record, Digest)> {
        let mut listing = repository::list(&[self.target()], &"dev".parse().unwrap()).await;
        let epoch = self.epoch();
        listing.unlock(|_| Some(epoch.chunk_key));
        let last = listing
            .backups
            .into_iter()
            .max_by_key(|backup| backup.record.sequence)?;
        Some((last.record, Digest::of(&last.bytes)))
    }

    async fn back_up(&self, step: Step) {
        let target = self.target();
        let epoch = Arc::new(self.epoch());
        if step == Step::First {
            let named = Repository {
                format: 1,
                repository: REPOSITORY.into(),
            };
            repository::create(&target, &named).await.unwrap();
        }
        let index = self.folder.join("index");
        let base = self.last().await.map(|(record, digest)| {
            let index = Index::open(&index).unwrap().unwrap();
            assert_eq!(index.footer().record, Some(digest));
            let base = Base {
                index,
                condemned: std::collections::BTreeSet::new(),
                pages: self.folder.join("pages"),
            };
            (Arc::new(base), record)
        });
        assert_eq!(base.is_some(), step != Step::First);
        let placed = Placed::default();
        let ledger = Ledger::begin(
            &self.folder.join("arrived"),
            Some(epoch.name.clone()),
            placed.clone(),
            &[],
        );
        let storing = Storing {
            level: 3,
            epoch: Some(Arc::clone(&epoch)),
            settings: Settings {
                base: base.as_ref().map(|(base, _)| Arc::clone(base)),
                sequence: step.sequence(),
                seed: epoch.chunk_key.seed(),
                spool: self.folder.join("spool"),
                pages: self.folder.join("pages"),
                placed,
                ..Settings::default()
            },
            base,
            index,
            ledger: Some(ledger.unwrap()),
            targets: vec![target],
            required: 1,
            doomed: Arc::default(),
            salt: id(step),
        };
        let files = self.files(step);
        let entries = files.files().count() as u64 + 1;
        let bytes: u64 = files.files().map(|file| files.size(file)).sum();
        let events = Events::none();
        let stored = store::store(storing, &events, move |sink| {
            sink.source(source(), None)?;
            capture(&files, sink)
        });
        let (packed, memory) = stored.await.unwrap_or_else(|error| panic!("{error:?}"));
        let signer = Signer::generate("host").unwrap();
        let completed = repository::complete(packed, 1, "salt", &signer, |packed: &Packed<()>, refs| {
            let record = serde_json::json!({
                "format": 1, "id": id(step), "run": "01980000-0000-7000-8000-000000000000", "sequence": step.sequence(),
                "parent": null, "environment": "dev", "pipeline": "backup", "instance": "host", "started": "x", "ended": "x",
                "sources": [{ "name": source(), "type": "files", "root": "/x", "entries": entries, "bytes": bytes, "warnings": 0 }],
                "packs": packed.packs(), "epoch": epoch.name, "epoch-check": epoch.chunk_key.check(),
                "segments": packed.segments, "patch": packed.patch, "refs": refs,
                "warnings": 0, "manifest": "", "tool": "test",
            });
            serde_json::from_value::<Record>(record).unwrap()
        });
        let stored = completed.await.unwrap().stored.unwrap();
        let new = memory.totals.new;
        let record = stored.record().id.clone();
        memory.commit(record, Digest::of(stored.bytes())).unwrap();
        self.stored_what_is_new(step, new);
    }

    /// Whether a backup stored what it had to, and no byte more.
    fn stored_what_is_new(&self, step: Step, new: u64) {
        let files = self.files(step);
        let whole: u64 = files.files().map(|file| files.size(file)).sum();
        let wanted = match (step, self.shape) {
            (Step::First, Shape::Usual | Shape::Smallest) => whole,
            (Step::First, Shape::Same) => whole / self.chunks,
            (Step::Unchanged, _) => 0,
            _ => {
                assert!(new > 0 && new <= strongroom::chunking::CHUNK_MAX as u64, "{new}");
                return;
            }
        };
        assert_eq!(new, wanted, "bytes stored");
    }

    /// Looks whether the engine cut as the files mean it to.
    fn count_chunks(&self, step: Step) {
        let files = self.files(step);
        let index = Index::open(&self.folder.join("index")).unwrap().unwrap();
        let mut items = index.items(&source()).unwrap().unwrap();
        let (mut chunks, mut distinct) = (0, HashSet::new());
        while items.advance().unwrap() {
            Item::chunks(items.body(), |id, _| {
                chunks += 1;
                distinct.insert(id);
            })
            .unwrap();
        }
        assert_eq!(chunks, files.chunks());
        assert_eq!(distinct.len() as u64, files.distinct());
    }

    async fn read(&self, step: Step) {
        let (record, _) = self.last().await.unwrap();
        assert_eq!(record.sequence, Step::Changed.sequence());
        let identity = std::fs::read_to_string(self.folder.join("identity")).unwrap();
        let identities = Identity::parse_all(&identity).unwrap();
        let (target, epoch) = (self.target(), record.epoch.clone().unwrap());
        let keys = epoch::find_keys(&target, &epoch, record.epoch_check.as_deref(), &identities);
        let opening = Opening::Epoch(keys.await.unwrap());
        let files = Box::leak(Box::new(self.files(step)));
        let comparing = Comparing {
            files,
            left: Box::new(files.files()),
            current: None,
            kept: (step == Step::Hoard).then(Vec::new),
        };
        if step != Step::Export {
            let (_, comparing) = unpack(&target, &record, &opening, &Events::none(), comparing)
                .await
                .unwrap();
            return comparing.finish();
        }
        let handle = tokio::runtime::Handle::current();
        let reading = Reading::new(&target, &record, &opening, &Events::none(), handle).unwrap();
        let work = move || {
            let (mut comparing, mut entries) = (comparing, reading.entries());
            extract(&reading, move || Ok(entries.next()?), &mut comparing).unwrap();
            comparing.finish();
        };
        tokio::task::spawn_blocking(work).await.unwrap();
    }
}

fn id(step: Step) -> String {
    format!("20261128T00000{}Z-0000", step.sequence())
}

fn source() -> SourceName {
    "all".parse().unwrap()
}

/// An entry as a walk finds it; `changed` is how often it was changed since.
fn entry(path: &str, size: Option<u64>, changed: i64) -> Entry {
    let mtime = Moment {
        seconds: 1_000_000_000 + changed,
        nanoseconds: 0,
    };
    Entry {
        path: TreePath::parse(path.as_bytes()).unwrap(),
        kind: size.map_or(Kind::Folder, |size| Kind::File { size, extents: None }),
        metadata: Metadata {
            mode: 0o640,
            mtime,
            ..Metadata::default()
        },
        stat: Some(Stat {
            device: 1,
            inode: 1,
            size: size.unwrap_or(0),
            mtime,
            ctime: mtime,
        }),
    }
}

fn path(file: File) -> String {
    format!("{:08}.bin", file.number)
}

/// Hands the files on as a source does: what is known is not read.
fn capture(files: &Synthetic, sink: &mut dyn TreeSink) -> Result<(), SinkError> {
    let root = entry("", None, 0);
    if !sink.knows() || sink.known(&root, None)?.is_none() {
        sink.begin(&root)?;
        sink.end(Verdict::Kept)?;
    }
    for file in files.files() {
        let entry = entry(&path(file), Some(files.size(file)), i64::from(files.is_changed(file)));
        if sink.knows() && sink.known(&entry, Some(files.size(file)))?.is_some() {
            continue;
        }
        sink.begin(&entry)?;
        let mut content = files.content(file);
        loop {
            let data = content.next();
            if data.is_empty() {
                break;
            }
            sink.write(data)?;
        }
        sink.end(Verdict::Kept)?;
    }
    Ok(())
}

/// Takes a backup and compares it with the files.
struct Comparing {
    files: &'static Synthetic,
    left: Box<dyn Iterator<Item = File> + Send>,
    current: Option<Content<'static>>,
    /// All that came, where it is kept.
    kept: Option<Vec<Vec<u8>>>,
}

impl Comparing {
    fn takes(&mut self, entry: &Entry) {
        if matches!(entry.kind, Kind::File { .. }) {
            let file = self.left.next().expect("more files than there were");
            assert_eq!(entry.path.display(), path(file));
            assert_eq!(entry.kind.data_bytes(), self.files.size(file));
            self.current = Some(self.files.content(file));
        }
    }

    fn compare(&mut self, data: &[u8]) {
        let current = self.current.as_mut().unwrap();
        assert!(current.goes_on_with(data), "other bytes than there were");
        if let Some(kept) = &mut self.kept {
            kept.push(data.to_vec());
        }
    }

    fn ended(&mut self) {
        assert!(self.current.take().is_none_or(|current| current.is_over()));
    }

    fn finish(mut self) {
        assert!(self.left.next().is_none(), "fewer files than there were");
    }
}

impl TreeSink for Comparing {
    fn begin(&mut self, entry: &Entry) -> Result<(), SinkError> {
        self.takes(entry);
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), SinkError> {
        self.compare(data);
        Ok(())
    }

    fn end(&mut self, _: Verdict) -> Result<(), SinkError> {
        self.ended();
        Ok(())
    }
}

impl BackupSink for Comparing {
    fn source(&mut self, _: &SourceName) -> Result<Option<&mut dyn TreeSink>, SinkError> {
        Ok(Some(self))
    }
}

impl Taker for Comparing {
    fn begin(&mut self, listed: &Listed) -> Result<(), SinkError> {
        self.takes(&listed.entry);
        Ok(())
    }

    fn data(&mut self, data: &[u8]) -> Result<(), SinkError> {
        self.compare(data);
        Ok(())
    }

    fn end(&mut self) -> Result<(), SinkError> {
        self.ended();
        Ok(())
    }
}

/// The most memory that this process ever had, in bytes.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib * 1024
}

/// Does one step and says how much memory that took.
#[test]
fn step_process() {
    let Ok(words) = std::env::var(STEP) else {
        return;
    };
    let words: Vec<&str> = words.lines().collect();
    let [folder, shape, step, chunks] = words[..] else {
        panic!("{words:?}");
    };
    let scene = Scene {
        folder: folder.into(),
        shape: Shape::named(shape),
        chunks: chunks.parse().unwrap(),
    };
    let step = Step::named(step);
    let makes = matches!(step, Step::First | Step::Unchanged | Step::Changed);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if makes {
        runtime.block_on(scene.back_up(step));
    } else {
        runtime.block_on(scene.read(step));
    }
    writeln!(std::io::stdout(), "\nmemory: {}", most_memory()).unwrap();
    if makes {
        scene.count_chunks(step);
    }
}

fn count() -> u64 {
    let asked = std::env::var("MANY_CHUNKS").ok().map(|text| text.parse().unwrap());
    let torture = std::env::var_os("STRONGROOM_TORTURE").map(|_| CHUNKS_TORTURE);
    asked.or(torture).unwrap_or(CHUNKS)
}

fn each_step_stays_small(shape: Shape) {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene::new(folder.path(), shape, count());
    let memory = Step::HONEST.map(|step| (step.name(), scene.run(step)));
    assert!(memory.iter().all(|(_, bytes)| *bytes <= MEMORY), "{memory:?}");
}

#[test]
fn files_of_many_chunks_are_stored_found_again_and_read_in_little_memory() {
    each_step_stays_small(Shape::Usual);
}

#[test]
fn a_file_of_many_smallest_chunks_is_stored_found_again_and_read_in_little_memory() {
    each_step_stays_small(Shape::Smallest);
}

#[test]
fn a_file_of_the_same_chunk_many_times_is_stored_found_again_and_read_in_little_memory() {
    each_step_stays_small(Shape::Same);
}

#[test]
fn who_keeps_what_they_read_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene::new(folder.path(), Shape::Smallest, CHUNKS);
    for step in [Step::First, Step::Unchanged, Step::Changed] {
        scene.run(step);
    }
    let memory = scene.run(Step::Hoard);
    assert!(memory > MEMORY, "{memory}");
}
