//! Makes the data of an environment, as a whole or not at all: it is built beside its place and moved in.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::layout::Layout;
use crate::log::{Event, Log, Stroke};
use crate::projections::{Projection, Subject};
use crate::text::{Numbers, PEOPLE, secret};
use crate::{At as _, Error};

/// Events of a new log at scale 1.
const EVENTS: u64 = 3_000;

/// What came of it.
pub(crate) enum Made {
    /// There was nothing, now there is data.
    New,
    /// There was something, and it was left alone.
    Present,
}

/// Makes the environment where its folder is absent or empty. A folder that has anything in it is left alone, even when
/// part of its data is missing: inventing new data in the place of lost data would hide the loss.
pub(crate) fn init(layout: &Layout, scale: u32) -> Result<Made, Error> {
    let root = layout.root();
    if !is_vacant(root)? {
        return Ok(Made::Present);
    }
    let parent = root.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    std::fs::create_dir_all(&parent).at(&parent)?;
    let beside = parent.join(format!(".new-{}", secret(12)?));
    let new = Layout::at(beside.clone());
    let made = fill(&new, scale).and_then(|()| match std::fs::rename(&beside, root) {
        Ok(()) => Ok(Made::New),
        // Another `init` was faster; its data stands.
        Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => Ok(Made::Present),
        Err(error) => Err(error).at(root),
    });
    if beside.exists() {
        std::fs::remove_dir_all(&beside).at(&beside)?;
    }
    made
}

fn is_vacant(folder: &Path) -> Result<bool, Error> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).at(folder),
    }
}

fn fill(layout: &Layout, scale: u32) -> Result<(), Error> {
    for path in [
        layout.root().to_owned(),
        layout.data(),
        layout.events(),
        layout.artifacts(),
        layout.projections(),
        layout.config(),
    ] {
        folder(&path, 0o750)?;
    }
    history(layout, scale)?;
    artifacts(&layout.artifacts(), scale)?;
    config(&layout.config())
}

/// The log so far, one event a minute up to now, and both projections of it.
fn history(layout: &Layout, scale: u32) -> Result<(), Error> {
    let now = jiff::Timestamp::now();
    let count = EVENTS * u64::from(scale);
    let mut log = Log::open(&layout.events())?;
    let mut projections = Vec::new();
    for subject in Subject::ALL {
        projections.push(Projection::open(&layout.projections(), subject)?);
        let path = layout.projections().join(format!("{}.db", subject.name()));
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).at(&path)?;
    }
    let mut next = 1;
    while next <= count {
        let last = count.min(next + 99);
        let ago = |seq| jiff::SignedDuration::from_mins(count.saturating_sub(seq).cast_signed());
        let events: Vec<Event> = (next..=last)
            .map(|seq| Event::invent(seq, now.checked_sub(ago(seq)).unwrap_or(now)))
            .collect();
        log.append(&events, Stroke::Whole)?;
        for projection in &mut projections {
            projection.apply(&events)?;
        }
        next = last + 1;
    }
    Ok(())
}

/// Files of every everyday kind: text, binary, large, empty, executable, nested, linked, with holes, with odd names.
fn artifacts(root: &Path, scale: u32) -> Result<(), Error> {
    let mut numbers = Numbers::seeded(7);
    for name in ["reports", "images", "tools", "reports/2026", "reports/2026/11"] {
        folder(&root.join(name), 0o750)?;
    }
    for index in 1..=12 * scale {
        let mut text = format!("# Report {index}\n\n");
        for _ in 0..20 {
            text.push_str(&numbers.sentence(40));
            text.push_str(".\n");
        }
        file(
            &root.join(format!("reports/2026/11/report-{index:04}.md")),
            0o640,
            text.as_bytes(),
        )?;
        let size = 20_000 + usize::try_from(numbers.below(60_000)).unwrap_or(0);
        file(
            &root.join(format!("images/image-{index:04}.bin")),
            0o640,
            &numbers.bytes(size),
        )?;
    }
    file(&root.join("images/large.bin"), 0o640, &numbers.bytes(1_500_000))?;
    file(&root.join("empty"), 0o640, b"")?;
    file(&root.join("with space and ümlaut.txt"), 0o644, "größer\n".as_bytes())?;
    file(&root.join("tools/rotate.sh"), 0o750, b"#!/bin/sh\nexec true\n")?;
    let newest = Path::new("reports/2026/11/report-0001.md");
    let link = root.join("newest.md");
    std::os::unix::fs::symlink(newest, &link).at(&link)?;
    let twin = root.join("twin.md");
    std::fs::hard_link(root.join(newest), &twin).at(&twin)?;
    let holes = root.join("images/holes.img");
    file(&holes, 0o640, b"begins\n")?;
    let grown = OpenOptions::new().write(true).open(&holes).at(&holes)?;
    grown.set_len(4 << 20).at(&holes)
}

/// Configuration as people keep it. Its secrets are fake: random, and valid nowhere.
fn config(root: &Path) -> Result<(), Error> {
    let env = format!(
        "# The service's own secrets; a backup leaves this file out.\nSERVICE_PORT=8080\nLOG_LEVEL=info\n\
         JWT_SECRET={}\nDATABASE_PASSWORD={}\nSMTP_PASSWORD=\"{}\"\nPREVIEW_SALT={}\n",
        secret(48)?,
        secret(24)?,
        secret(20)?,
        secret(32)?
    );
    file(&root.join(".env"), 0o600, env.as_bytes())?;
    let toml = format!(
        "# The service.\n[http]\nport = 8080\nmax-body = \"16 MiB\"\n\n[database]\nfile = \"projections/tasks.db\"\n\
         password = \"{}\"\n\n[session]\nttl = \"12h\"\nsigning-key = \"{}\"\n\n[mail]\n\
         url = \"smtp://robot:{}@mail.example.com:587\"\nfrom = \"robot@example.com\"\n",
        secret(24)?,
        secret(40)?,
        secret(16)?
    );
    file(&root.join("service.toml"), 0o640, toml.as_bytes())?;
    let yaml = format!(
        "# Who is told of what.\nchannels:\n  - name: operators\n    type: chat\n    token: {}\n    severity: [1, 2]\n\
         \x20 - name: digest\n    type: mail\n    to: operators@example.com\n    severity: [3, 4]\n\
         rules:\n  disk-free: 15%\n  api_key: '{}'\n",
        secret(35)?,
        secret(32)?
    );
    file(&root.join("alerts.yaml"), 0o640, yaml.as_bytes())?;
    let mut users = Vec::new();
    for (index, name) in PEOPLE.iter().enumerate() {
        users.push(serde_json::json!({
            "id": index + 1,
            "name": name,
            "email": format!("{name}@example.com"),
            "role": if index == 0 { "admin" } else { "member" },
            "password_hash": format!("argon2id${}", secret(43)?),
            "api_token": secret(40)?,
        }));
    }
    let json = serde_json::json!({ "users": users });
    file(&root.join("users.json"), 0o600, format!("{json:#}\n").as_bytes())
}

/// A folder with exactly this mode, whatever the umask.
fn folder(path: &Path, mode: u32) -> Result<(), Error> {
    DirBuilder::new().mode(mode).create(path).at(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(mode)).at(path)
}

/// A new file with exactly this mode, whatever the umask.
fn file(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).at(path)?;
    file.write_all(bytes).at(path)?;
    file.set_permissions(Permissions::from_mode(mode)).at(path)
}
