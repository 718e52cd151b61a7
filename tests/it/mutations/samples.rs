//! Sound inputs of every reader, as real runs of the program leave them.

use std::fs;
use std::path::{Path, PathBuf};

use strongroom::archive::epoch::{HostEpoch, HostEpochs, open_keys, seal_keys};
use strongroom::archive::keys::EpochKeys;
use strongroom::archive::layout;
use strongroom::archive::record::{ArchiveRecord, Record};
use strongroom::archive::refs::Refs;
use strongroom::crypto::Digest;
use strongroom::crypto::age::{self, Identity};
use strongroom::crypto::note::Verifier;

use crate::chunks::{SOURCES, objects};
use crate::projects::Project;
use crate::sealed::{Sealed, planted};

/// What two projects, one of which seals, have after a few backups and a restore.
pub(super) struct Samples {
    pub(super) plain: Project,
    pub(super) sealed: Sealed,
    /// Records of both, with their names.
    pub(super) records: Vec<(String, Vec<u8>)>,
    /// Who signed those of the first.
    pub(super) signer: Verifier,
    /// What opens the second.
    pub(super) keys: EpochKeys,
    pub(super) identities: Vec<Identity>,
}

impl Samples {
    pub(super) fn new() -> Self {
        let plain = Project::new(SOURCES);
        small(&plain);
        plain.backup(&[]).ended(0);
        grow(&plain);
        plain.backup(&[]).ended(0);
        plain.restore("latest", &[]).ended(0);
        let sealed = Sealed::new(SOURCES);
        planted(&sealed.project);
        sealed.backup(0);
        let shown = plain.run(&["keys", "show", "--env", "dev"]).ended(0);
        let signer = shown.json["signer"].as_str().unwrap().parse().unwrap();
        let identities: Vec<Identity> = ["one.key", "two.key"]
            .iter()
            .flat_map(|file| Identity::parse_all(&fs::read_to_string(sealed.project.path(file)).unwrap()).unwrap())
            .collect();
        let key = objects(&sealed.project, "keys").into_keys().next().unwrap();
        let bytes = fs::read(sealed.project.path("backups").join(&key)).unwrap();
        let (epoch, _) = layout::parse_key(&key).unwrap();
        let (keys, _) = open_keys(epoch, &key, &bytes, &identities).unwrap();
        let records = [&plain, &sealed.project].into_iter().flat_map(|project| {
            let names = objects(project, "backups")
                .into_keys()
                .filter(|name| layout::parse_record(name).is_some());
            names
                .map(|name| (name.clone(), fs::read(project.path("backups").join(&name)).unwrap()))
                .collect::<Vec<_>>()
        });
        Self {
            records: records.collect(),
            signer,
            keys,
            identities,
            plain,
            sealed,
        }
    }

    /// Stored objects of the first project whose names begin so.
    pub(super) fn objects(&self, begin: &str) -> Vec<Vec<u8>> {
        let names = objects(&self.plain, "").into_keys();
        names
            .filter(|name| name.starts_with(begin))
            .map(|name| fs::read(self.plain.path("backups").join(name)).unwrap())
            .collect()
    }

    /// The records, read.
    pub(super) fn parsed(&self) -> Vec<(Record, Vec<u8>)> {
        let each = self.records.iter().map(|(name, bytes)| {
            let (environment, id) = layout::parse_record(name).unwrap();
            (Record::parse(bytes, &environment, &id).unwrap(), bytes.clone())
        });
        each.collect()
    }

    /// Two archives by `gzip` of the same tree, the record of one, and their plain text.
    pub(super) fn gzipped() -> (Vec<Vec<u8>>, ArchiveRecord, Vec<u8>) {
        let project = Project::new("[[step.source]]\nname = \"files\"\ntype = \"files\"\npath = \"data/files\"\n");
        planted(&project);
        let path = project.path("pipelines/backup.toml");
        let text = fs::read_to_string(&path).unwrap();
        let stored = ["1", "9"].map(|level| {
            let codec = format!("type = \"compress\"\ncodec = \"gzip\"\nlevel = {level}");
            fs::write(&path, text.replace("type = \"compress\"", &codec)).unwrap();
            let id = project.backup(&[]).ended(0).id();
            let environment = "dev".parse().unwrap();
            let bytes = fs::read(project.path(&format!("backups/backups/dev/{id}.json"))).unwrap();
            let record = Record::parse(&bytes, &environment, &id.parse().unwrap()).unwrap();
            let archive = record.archive.unwrap();
            (fs::read(project.path("backups").join(&archive.name)).unwrap(), archive)
        });
        let plain = |stored: &[u8]| {
            let mut plain = Vec::new();
            let decoder = async_compression::tokio::bufread::GzipDecoder::new(stored);
            super::block_on(tokio::io::AsyncReadExt::read_to_end(&mut { decoder }, &mut plain)).unwrap();
            plain
        };
        let texts = stored.each_ref().map(|(bytes, _)| plain(bytes));
        assert_eq!(texts[0], texts[1]);
        let [(one, record), (two, _)] = stored;
        let [text, _] = texts;
        (vec![one, two], record, text)
    }

    /// Plain texts of catalog segments.
    pub(super) fn segments(&self) -> Vec<Vec<u8>> {
        unpacked(self.objects("catalogs"))
    }

    /// Lists of objects.
    pub(super) fn refs(&self) -> Vec<Vec<u8>> {
        unpacked(self.objects("refs"))
    }

    pub(super) fn one_refs(&self) -> Refs {
        Refs::from_object(&self.objects("refs")[0]).unwrap()
    }

    /// Packs with the digests in their names.
    pub(super) fn packs(&self) -> Vec<(Digest, Vec<u8>)> {
        let names = objects(&self.plain, "packs").into_keys();
        let all = names.map(|name| {
            let bytes = fs::read(self.plain.path("backups").join(&name)).unwrap();
            (layout::pack_digest(&name).unwrap(), bytes)
        });
        all.filter(|(_, bytes)| bytes.len() < 64 << 10).collect()
    }

    /// Small sealed objects and what is in them.
    pub(super) fn sealed_objects(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let recipients: Vec<_> = self.identities.iter().map(Identity::recipient).collect();
        let plains = [&b"some content"[..], b"", &[7; 300]];
        let small = plains.map(|plain| (age::seal(&recipients, plain).unwrap(), plain.to_vec()));
        let (_, key) = seal_keys(&self.keys, &recipients, "now").unwrap();
        let opened = age::open(&self.identities, &key).unwrap();
        small.into_iter().chain([(key.to_vec(), opened)]).collect()
    }

    /// Texts of opened key objects.
    pub(super) fn key_texts(&self) -> Vec<Vec<u8>> {
        let recipients: Vec<_> = self.identities.iter().map(Identity::recipient).collect();
        let seal = |created: &str| seal_keys(&self.keys, &recipients, created).unwrap().1;
        ["2026-11-21T21:51:00Z", ""]
            .map(|created| age::open(&self.identities, &seal(created)).unwrap())
            .into()
    }

    /// The file of a host's epochs.
    pub(super) fn epochs(&self) -> Vec<Vec<u8>> {
        let recipients: Vec<_> = self.identities.iter().map(Identity::recipient).collect();
        let epochs = ["a", "b"].map(|created| HostEpoch::create(&recipients, created).unwrap());
        vec![
            HostEpochs(epochs.to_vec()).to_bytes("repository").to_vec(),
            HostEpochs(epochs[..1].to_vec()).to_bytes("repository").to_vec(),
        ]
    }

    /// Files in the state folder of the first project, by the end of their names.
    pub(super) fn state(&self, end: &str) -> Vec<Vec<u8>> {
        files(&self.plain.path(".strongroom/dev"), end)
    }

    /// Files that the restore left beside what it restored.
    pub(super) fn beside(&self, end: &str) -> Vec<Vec<u8>> {
        files(&self.plain.path("data"), end)
    }
}

/// A tree with one entry of every kind that a test may make, and a file in several pieces.
fn small(project: &Project) {
    planted(project);
    let root = project.path("data/files");
    fs::write(root.join("small"), b"small").unwrap();
    fs::write(root.join("empty"), b"").unwrap();
    fs::hard_link(root.join("small"), root.join("second")).unwrap();
    std::os::unix::fs::symlink("elsewhere", root.join("link")).unwrap();
    let holes = fs::File::create(root.join("holes")).unwrap();
    std::os::unix::fs::FileExt::write_at(&holes, b"end", 5 << 20).unwrap();
    let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"odd\xff");
    fs::write(root.join(name), b"odd").unwrap();
    rustix::fs::setxattr(root.join("small"), "user.x", b"1", rustix::fs::XattrFlags::empty()).unwrap();
}

fn grow(project: &Project) {
    let log = project.path("data/events/000000.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text + "{\"more\":1}\n").unwrap();
    fs::write(project.path("data/files/new"), b"new").unwrap();
    fs::remove_file(project.path("data/files/empty")).unwrap();
}

/// Plain texts of what zstd packed.
fn unpacked(stored: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let texts = stored
        .iter()
        .map(|bytes| zstd::stream::decode_all(bytes.as_slice()).unwrap());
    texts.filter(|text| text.len() < 16 << 10).collect()
}

fn files(folder: &Path, end: &str) -> Vec<Vec<u8>> {
    let (mut found, mut folders): (Vec<Vec<u8>>, Vec<PathBuf>) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().is_some_and(|name| name.ends_with(end)) {
                found.push(fs::read(path).unwrap());
            }
        }
    }
    assert!(!found.is_empty(), "no `{end}` below {}", folder.display());
    found
}
