//! What could not be restored, counted: each kind becomes one warning with its number, not one a file.

use std::collections::{BTreeMap, BTreeSet};

use rustix::io::Errno;

use crate::diagnostic::{Code, Diagnostic};
use crate::fs::create::{Lack, Shortfall};
use crate::fs::entry::{TreePath, display_bytes};
use crate::limits;

/// How often, and where first.
#[derive(Debug, Default)]
struct Tally {
    count: u64,
    first: Option<TreePath>,
}

impl Tally {
    fn add(&mut self, path: &TreePath) {
        self.count += 1;
        self.first.get_or_insert_with(|| path.clone());
    }

    fn first(&self) -> String {
        match &self.first {
            Some(path) if !path.is_root() => path.display(),
            _ => ".".to_owned(),
        }
    }
}

/// Everything that could not be restored until now.
#[derive(Debug, Default)]
pub(super) struct Shortfalls {
    /// Whether what an ordinary user may not do is accepted: another user than root asked for no owner.
    accepts: bool,
    owners: Tally,
    set_ids: Tally,
    modes: Tally,
    times: Tally,
    devices: Tally,
    /// By attribute and reason; at most `limits::WARNINGS_LISTED` of them.
    attributes: BTreeMap<(Vec<u8>, i32), Tally>,
    attributes_skipped: u64,
    attributes_unlisted: u64,
    /// Devices that were not made: their further names are not made either.
    skipped: BTreeSet<TreePath>,
}

impl Shortfalls {
    pub(super) fn new(accepts: bool) -> Self {
        Self {
            accepts,
            ..Self::default()
        }
    }

    /// Notes what an entry lacks.
    pub(super) fn note(&mut self, path: &TreePath, short: Shortfall) {
        for lack in short.lacks {
            let tally = match lack {
                Lack::Owner => &mut self.owners,
                Lack::SetId => &mut self.set_ids,
                Lack::Mode => &mut self.modes,
                Lack::Time => &mut self.times,
            };
            tally.add(path);
        }
        for (name, error) in short.attributes {
            self.attributes_skipped += 1;
            if self.accepts && matches!(error, Errno::PERM | Errno::ACCESS) {
                continue;
            }
            let key = (name, error.raw_os_error());
            if self.attributes.len() < limits::WARNINGS_LISTED || self.attributes.contains_key(&key) {
                self.attributes.entry(key).or_default().add(path);
            } else {
                self.attributes_unlisted += 1;
            }
        }
    }

    /// Notes a device that could not be made, or a further name of one.
    pub(super) fn skip_device(&mut self, path: &TreePath) {
        self.devices.add(path);
        self.skipped.insert(path.clone());
    }

    /// Whether the entry was not made, for lack of privilege.
    pub(super) fn is_skipped(&self, path: &TreePath) -> bool {
        self.skipped.contains(path)
    }

    /// How many entries lack their owner, how many attributes and devices were left out.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        (self.owners.count, self.attributes_skipped, self.devices.count)
    }

    /// Turns the counts into warnings, at most `limits::WARNINGS_LISTED`, and says how many there were.
    pub(super) fn warnings(&self) -> (Vec<Diagnostic>, u64) {
        let mut warnings = Vec::new();
        if self.owners.count > 0 {
            warnings.push(self.owner_warning());
        }
        if self.devices.count > 0 && !self.accepts {
            let what = format!(
                "{} could not be made, the first is `{}`",
                count(self.devices.count, "device"),
                self.devices.first()
            );
            warnings.push(incomplete(what).help("restore as root to make devices"));
        }
        if self.modes.count > 0 {
            let what = format!(
                "the mode of {} could not be set, the first is `{}`",
                count(self.modes.count, "entry"),
                self.modes.first()
            );
            warnings.push(incomplete(what).why("the file system does not keep these bits"));
        }
        if self.times.count > 0 {
            let what = format!(
                "the time of {} lies outside what the file system keeps, the first is `{}`",
                count(self.times.count, "entry"),
                self.times.first()
            );
            warnings.push(incomplete(what).why("the file system took the nearest time it can keep"));
        }
        warnings.extend(self.attributes.iter().map(|((name, errno), tally)| {
            let what = format!(
                "the attribute `{}` of {} could not be set, the first is `{}`",
                display_bytes(name),
                count(tally.count, "entry"),
                tally.first()
            );
            let why = std::io::Error::from_raw_os_error(*errno).to_string();
            let help = "restore as root, onto a file system that keeps such attributes";
            incomplete(what).why(why).help(help)
        }));
        let number = warnings.len() as u64 + self.attributes_unlisted;
        warnings.truncate(limits::WARNINGS_LISTED);
        (warnings, number)
    }

    fn owner_warning(&self) -> Diagnostic {
        let mut what = format!("the owner of {} could not be set", count(self.owners.count, "entry"));
        if self.set_ids.count > 0 {
            what.push_str(", and set-id bits were left out of ");
            what.push_str(&count(self.set_ids.count, "entry"));
        }
        incomplete(what)
            .why("only root may give files to others; what was restored belongs to whoever ran the restore")
            .help("restore as root, or accept it with `--no-owner`")
    }
}

fn incomplete(what: String) -> Diagnostic {
    Diagnostic::warning(Code::RestoreIncomplete, what).state("everything else was restored")
}

/// "1 entry", "2 entries".
fn count(number: u64, what: &str) -> String {
    match (number, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text.as_bytes()).unwrap()
    }

    fn lacking(attribute: &str, error: Errno) -> Shortfall {
        Shortfall {
            attributes: vec![(attribute.as_bytes().to_vec(), error)],
            ..Shortfall::default()
        }
    }

    #[test]
    fn a_thousand_entries_without_owner_are_one_warning() {
        let mut shortfalls = Shortfalls::new(false);
        for n in 0..1000 {
            let short = Shortfall {
                lacks: vec![Lack::Owner],
                ..Shortfall::default()
            };
            shortfalls.note(&path(&n.to_string()), short);
        }
        assert_eq!(shortfalls.counts().0, 1000);
        let (warnings, number) = shortfalls.warnings();
        assert_eq!(number, 1);
        assert!(warnings[0].what.contains("1000 entries"));
    }

    #[test]
    fn who_asked_for_no_owner_accepts_what_takes_privilege_and_nothing_else() {
        let mut shortfalls = Shortfalls::new(true);
        shortfalls.note(&path("a"), lacking("trusted.x", Errno::PERM));
        shortfalls.note(&path("a"), lacking("user.x", Errno::NOSPC));
        shortfalls.skip_device(&path("b"));
        assert_eq!(shortfalls.counts(), (0, 2, 1));
        assert_eq!(shortfalls.warnings().1, 1);
    }
}
