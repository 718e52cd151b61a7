//! Who uses the files of a destination: a process that has one open for writing, mapped or locked would go on with the old
//! data after a swap, and what it writes then is lost with it.
//!
//! Looked up in `/proc` by device and inode. That is what the kernel lets this user see: processes of other users hide their
//! files from anyone but root, and another host's from everyone; what could not be looked into is counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::fs::entry::{Kind, TreePath};
use crate::fs::folder::Folder;
use crate::fs::owners::Owners;
use crate::fs::selection::Selection;
use crate::fs::walk::{FileSystems, Look, SecondNames, Step, Walk, WalkOptions};

/// Access mode bits of an open file's flags.
const ACCESS: u32 = 0o3;

/// How a file is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// Open for writing.
    Writes,
    /// Mapped into memory.
    Maps,
    /// Locked.
    Locks,
}

impl Use {
    /// What the process does, for people.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Writes => "has it open for writing",
            Self::Maps => "has it mapped",
            Self::Locks => "has locked it",
        }
    }
}

/// A process that uses a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// The file.
    pub file: PathBuf,
    /// Its process id; none where the kernel does not say whose lock it is.
    pub process: Option<u32>,
    /// The name of its program, where it can be read.
    pub program: String,
    /// What it does.
    pub how: Use,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InUse {
    /// Processes that use files of the destinations, in order.
    pub holders: Vec<Holder>,
    /// Processes that this user may not look into.
    pub unseen: u64,
    /// Why nothing could be looked at, where that is so.
    pub blind: Option<String>,
}

/// A file, by what the kernel tells of it.
type File = (u64, u64);

/// Looks for processes that use a file below one of `destinations`. The own process does not count.
pub fn find(destinations: &[PathBuf]) -> InUse {
    find_in(Path::new("/proc"), destinations)
}

fn find_in(proc: &Path, destinations: &[PathBuf]) -> InUse {
    let mut found = InUse::default();
    let used = match used_files(proc, &mut found) {
        Ok(used) if used.is_empty() => return found,
        Ok(used) => used,
        Err(error) => {
            found.blind = Some(format!("`{}` cannot be read: {error}", proc.display()));
            return found;
        }
    };
    let inodes: BTreeSet<u64> = used.keys().map(|(_, inode)| *inode).collect();
    let mut holders = BTreeSet::new();
    for destination in destinations {
        for (path, file) in files_among(destination, &inodes) {
            for (process, how) in used.get(&file).into_iter().flatten() {
                holders.insert(Holder {
                    file: path.clone(),
                    process: *process,
                    program: process.map(|process| program(proc, process)).unwrap_or_default(),
                    how: *how,
                });
            }
        }
    }
    found.holders = holders.into_iter().collect();
    found
}

type Users = BTreeMap<File, BTreeSet<(Option<u32>, Use)>>;

/// Every file that a process writes, maps or locks, as far as this user may see.
fn used_files(proc: &Path, found: &mut InUse) -> io::Result<Users> {
    let mut used = Users::new();
    let own = std::process::id();
    for entry in fs::read_dir(proc)? {
        let Ok(entry) = entry else { continue };
        let process = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        let Some(process) = process.filter(|process| *process != own) else {
            continue;
        };
        let looked =
            written(&entry.path(), process, &mut used).and_then(|()| mapped(&entry.path(), process, &mut used));
        match looked {
            Ok(()) => {}
            // It has ended.
            Err(error) if matches!(error.raw_os_error(), Some(2 | 3)) => {}
            Err(_) => found.unseen += 1,
        }
    }
    locked(proc, own, &mut used)?;
    Ok(used)
}

/// Files that the process has open for writing.
fn written(process: &Path, id: u32, used: &mut Users) -> io::Result<()> {
    for entry in fs::read_dir(process.join("fd"))? {
        let entry = entry?;
        let info = process.join("fdinfo").join(entry.file_name());
        // A descriptor that was closed since it was listed is used by nobody.
        let Ok(info) = fs::read_to_string(info) else { continue };
        if flags(&info) & ACCESS == 0 {
            continue;
        }
        if let Ok(stat) = fs::metadata(entry.path())
            && stat.is_file()
        {
            used.entry((stat.dev(), stat.ino()))
                .or_default()
                .insert((Some(id), Use::Writes));
        }
    }
    Ok(())
}

/// The flags line of a descriptor's information, in octal.
fn flags(info: &str) -> u32 {
    let line = info.lines().find_map(|line| line.strip_prefix("flags:"));
    line.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok())
        .unwrap_or(0)
}

/// Files that the process has mapped. The kernel writes another device there than `stat` gives on some file systems, so
/// a file is looked up by its path, as the process sees it.
fn mapped(process: &Path, id: u32, used: &mut Users) -> io::Result<()> {
    let text = fs::read_to_string(process.join("maps"))?;
    let paths: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.find('/').and_then(|at| line.get(at..)))
        .collect();
    for path in paths {
        let seen = path.strip_prefix('/').unwrap_or(path);
        if let Ok(stat) = fs::metadata(process.join("root").join(seen))
            && stat.is_file()
        {
            used.entry((stat.dev(), stat.ino()))
                .or_default()
                .insert((Some(id), Use::Maps));
        }
    }
    Ok(())
}

/// Files that are locked: `1: POSIX  ADVISORY  WRITE 1234 08:01:131090 0 EOF`.
fn locked(proc: &Path, own: u32, used: &mut Users) -> io::Result<()> {
    let text = match fs::read_to_string(proc.join("locks")) {
        // A container may not have it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for line in text.lines() {
        let Some((process, file)) = lock(line) else { continue };
        if process != Some(own) {
            used.entry(file).or_default().insert((process, Use::Locks));
        }
    }
    Ok(())
}

fn lock(line: &str) -> Option<(Option<u32>, File)> {
    let mut words = line.split_ascii_whitespace();
    // One who waits for a lock, marked by an arrow, has the file open all the same.
    let kind = words
        .by_ref()
        .find(|word| matches!(*word, "POSIX" | "FLOCK" | "OFDLCK"))?;
    let mut words = words.skip(2);
    let process = words.next()?.parse::<i64>().ok()?;
    let mut file = words.next()?.split(':');
    let major = u32::from_str_radix(file.next()?, 16).ok()?;
    let minor = u32::from_str_radix(file.next()?, 16).ok()?;
    let inode = file.next()?.parse().ok()?;
    // The kernel does not know whose such a lock is.
    let process = u32::try_from(process).ok().filter(|_| kind != "OFDLCK");
    Some((process, (rustix::fs::makedev(major, minor), inode)))
}

/// The files below `destination` that have one of these inodes.
fn files_among(destination: &Path, inodes: &BTreeSet<u64>) -> Vec<(PathBuf, File)> {
    let owners = Owners::default();
    let selection = Selection::all();
    let options = WalkOptions {
        selection: &selection,
        owners: &owners,
        look: Look::Survey,
        second_names: SecondNames::Separate,
        file_systems: FileSystems::All,
    };
    // A destination that is not there, or cannot be read, has no file that could be named.
    let Ok(walk) = Folder::open(destination).and_then(|folder| Walk::new(folder, options)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for step in walk {
        let Step::Found(entry) = step else { continue };
        let (Kind::File { .. }, Some(stat)) = (&entry.entry.kind, entry.entry.stat) else {
            continue;
        };
        if inodes.contains(&stat.inode) {
            found.push((below(destination, &entry.entry.path), (stat.device, stat.inode)));
        }
    }
    found
}

fn below(root: &Path, path: &TreePath) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    root.join(std::ffi::OsStr::from_bytes(path.as_bytes()))
}

fn program(proc: &Path, process: u32) -> String {
    let name = fs::read_to_string(proc.join(process.to_string()).join("comm"));
    name.map(|name| name.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// Ends the process it holds.
    struct Ending(Child);

    impl Drop for Ending {
        fn drop(&mut self) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }

    /// A shell that does something with a file and says so when it has.
    fn holding(script: &str, folder: &Path) -> Ending {
        let mut child = Command::new("bash")
            .args(["-c", &format!("{script}; echo ready; read -r end")])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        Ending(child)
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        for name in ["a", "sub/b"] {
            fs::File::create(folder.path().join(name))
                .unwrap()
                .write_all(b"x")
                .unwrap();
        }
        folder
    }

    #[test]
    fn who_writes_or_locks_a_file_is_named_and_who_reads_one_is_not() {
        let folder = folder();
        let destination = [folder.path().to_owned()];
        let before = find(&destination);
        assert_eq!(before.holders, []);
        assert_eq!(before.blind, None);
        let reader = holding("exec 3<a", folder.path());
        assert_eq!(find(&destination).holders, []);
        drop(reader);
        for (script, how) in [("exec 3>>sub/b", Use::Writes), ("exec 3<sub/b; flock 3", Use::Locks)] {
            let holder = holding(script, folder.path());
            let found = find(&destination).holders;
            assert_eq!(found.len(), 1, "{script}: {found:?}");
            assert_eq!(found[0].file, folder.path().join("sub/b"));
            assert_eq!(found[0].how, how);
            if how == Use::Writes {
                assert_eq!(
                    (found[0].process, found[0].program.as_str()),
                    (Some(holder.0.id()), "bash")
                );
            }
            drop(holder);
        }
        assert_eq!(find(&destination).holders, []);
    }

    #[test]
    fn a_mapped_program_is_in_use() {
        let folder = folder();
        fs::copy("/bin/cat", folder.path().join("sub/program")).unwrap();
        let mut holder = Ending(
            Command::new(folder.path().join("sub/program"))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap(),
        );
        // Once it answers, it is in memory; when it is only started, the kernel may still be at mapping it.
        holder.0.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        holder.0.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let found = find(&[folder.path().to_owned()]).holders;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].process, found[0].how), (Some(holder.0.id()), Use::Maps));
    }

    #[test]
    fn lines_of_locks_are_read_as_the_kernel_writes_them() {
        let file = (rustix::fs::makedev(8, 1), 131_090);
        for (line, expected) in [
            (
                "1: POSIX  ADVISORY  WRITE 1234 08:01:131090 0 EOF",
                Some((Some(1234), file)),
            ),
            (
                "2: -> FLOCK  ADVISORY  WRITE 7 08:01:131090 0 EOF",
                Some((Some(7), file)),
            ),
            ("3: OFDLCK ADVISORY  READ -1 08:01:131090 0 EOF", Some((None, file))),
            ("4: LEASE  ACTIVE    READ 1 08:01:131090 0 EOF", None),
            ("", None),
        ] {
            assert_eq!(lock(line), expected, "{line}");
        }
        assert_eq!(flags("pos:\t0\nflags:\t0100002\nmnt_id:\t1\n") & ACCESS, 2);
        assert_eq!(flags("flags:\t02100000\n") & ACCESS, 0);
    }

    #[test]
    fn where_nothing_can_be_looked_at_it_is_said() {
        let found = find_in(Path::new("/nowhere"), &[PathBuf::from("/")]);
        assert!(found.blind.is_some() && found.holders.is_empty());
    }
}
