//! What a restore would do to the data that is present: a part of `plan`. Catalog and present trees are read, contents of a
//! backup are not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::archive::catalog::{Line, Listed};
use crate::archive::keys::Opening;
use crate::archive::record::Record;
use crate::archive::repository::Backup;
use crate::archive::unpack::{Lines, UnpackError};
use crate::diagnostic::{Code, Diagnose, Diagnostic};
use crate::fs::entry::TreePath;
use crate::id::SourceName;
use crate::outcome::{Outcome, Table};
use crate::pipeline::{Environment, Plan};
use crate::restore::compare::{CompareError, Differences, Present, Tally, compare};
use crate::restore::points::{self, Rules};
use crate::restore::space::{self, rooms};
use crate::restore::swap::scan::scan;
use crate::source::SourceKind;
use crate::steps::Step;
use crate::steps::restore::Restore;
use crate::units::{ByteCount, counted};

use super::destination::{Destination, destinations, values};
use super::guard::{room_json, room_table, too_small};
use super::part::Part;
use super::recovery::known_destinations;
use super::redaction::Redaction;
use super::rewound::{Rewound, rewound};
use super::scope::Scope;
use super::swap::{look_for_use, refuse_in_use};
use super::wanted::Wanted;
use super::{Context, Failure, Keys, Opener, Options, part};

/// Paths of each kind that a report lists.
const LISTED: usize = 20;

/// What would become of one source.
struct Change {
    name: SourceName,
    destination: PathBuf,
    found: Differences,
    log: Option<Rewound>,
    kept_bytes: u64,
}

/// A backup, and the environment that says who opens it.
pub(super) struct Sealed<'b> {
    pub(super) backup: &'b Backup,
    pub(super) environment: &'b Environment,
}

impl Sealed<'_> {
    async fn open(&self, plan: &Plan, options: &Options, context: &Context) -> Result<Opening, Failure> {
        let mut keys = Keys::unread(self.environment, plan.project(), context);
        let mut opener = Opener::new(self.environment, options.identity.as_deref());
        let Backup { targets, record, .. } = self.backup;
        let opened = opener.open_record(targets, record, &mut keys).await;
        opened.map_err(|problem| vec![problem.state("what a restore would change is not known")])
    }
}

/// Tells what a restore of this backup would change.
pub(super) async fn tell(
    plan: &Plan,
    options: &Options,
    context: &Context,
    (sealed, settings): (&Sealed<'_>, &Restore),
    outcome: &mut Outcome,
) {
    if let Err(failure) = try_tell(plan, options, context, (sealed, settings), outcome).await {
        outcome.diagnostics.extend(failure);
    }
}

async fn try_tell(
    plan: &Plan,
    options: &Options,
    context: &Context,
    (sealed, settings): (&Sealed<'_>, &Restore),
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let backup = sealed.backup;
    let record = &backup.record;
    if let Some(to) = &options.to {
        let bytes = match part((options, context), (plan, sealed), outcome).await? {
            Some(part) => part.bytes,
            None => record.source_bytes(),
        };
        return room(&[(to.clone(), bytes)], outcome);
    }
    if settings.to.is_some() {
        return room(&[(Scope::of(plan).state(), record.source_bytes())], outcome);
    }
    let restored = Redaction::of(plan).restored(record);
    let destinations = destinations(plan, context, &restored, settings)?;
    let opening = sealed.open(plan, options, context).await?;
    let changes = changes(plan, (backup, opening), destinations).await?;
    changes_table(&changes, outcome);
    for change in &changes {
        if let Some(log) = &change.log {
            let label = format!("log `{}`", change.name);
            let json = serde_json::json!({ "source": change.name, "records": log.records });
            outcome.listed_field("log", label, log.text.clone(), json);
        }
    }
    let bytes = |change: &Change| {
        let source = record.sources.iter().find(|source| source.name == change.name);
        source
            .map_or(0, |source| source.bytes)
            .saturating_add(change.found.carried.bytes)
    };
    let needs: Vec<(PathBuf, u64)> = changes.iter().map(|c| (c.destination.clone(), bytes(c))).collect();
    room(&needs, outcome)?;
    kept(plan, context, &changes, outcome);
    let paths: Vec<PathBuf> = changes.into_iter().map(|change| change.destination).collect();
    // A plan replaces nothing, so what is in use is only shown.
    let in_use = look_for_use(paths).await?;
    refuse_in_use(&in_use, true, outcome)
}

/// Tells which part of the backup is wanted; nothing where everything is.
async fn part(
    (options, context): (&Options, &Context),
    (plan, sealed): (&Plan, &Sealed<'_>),
    outcome: &mut Outcome,
) -> Result<Option<Part>, Failure> {
    let wanted = Wanted::new(options)?;
    if wanted.is_everything() {
        return Ok(None);
    }
    let opening = sealed.open(plan, options, context).await?;
    let (part, warnings) = part::survey((sealed.backup, &opening), wanted).await?;
    outcome.diagnostics.extend(warnings);
    let text = format!("{}, {}", counted(part.entries, "entry"), ByteCount(part.bytes));
    let json = json!({ "entries": part.entries, "bytes": part.bytes, "sources": part.sources });
    outcome.field("part", "would restore", text, json);
    Ok(Some(part))
}

fn room(needs: &[(PathBuf, u64)], outcome: &mut Outcome) -> Result<(), Failure> {
    let rooms = rooms(needs).map_err(|error| {
        vec![
            Diagnostic::error(Code::RestoreFailed, "the free space of a destination cannot be read")
                .why(error.to_string()),
        ]
    })?;
    outcome.tables.push(room_table(&rooms));
    outcome.json.insert("room".into(), room_json(&rooms));
    outcome
        .diagnostics
        .extend(rooms.iter().filter(|room| !room.suffices()).map(too_small));
    Ok(())
}

/// Says what would be the rollback point, and which older ones would go.
fn kept(plan: &Plan, context: &Context, changes: &[Change], outcome: &mut Outcome) {
    let rules = plan.steps().iter().find_map(|planned| match &planned.step {
        Step::RollbackPoint(settings) if planned.enabled => Some(settings.rules()),
        _ => None,
    });
    let Some(rules) = rules else { return };
    let bytes: u64 = changes.iter().map(|change| change.kept_bytes).sum();
    let text = format!(
        "what is present in {}, {}",
        counted(changes.len() as u64, "destination"),
        ByteCount(bytes)
    );
    outcome.field("kept-bytes", "kept as rollback point", text, bytes);
    let going = going(plan, context, rules);
    if going.is_empty() {
        return;
    }
    let freed: u64 = going.iter().map(|(_, bytes)| *bytes).sum();
    let names: Vec<&str> = going.iter().map(|(id, _)| id.as_str()).collect();
    let text = format!("{}, {}", names.join(", "), ByteCount(freed));
    outcome.field("points-going", "older rollback points that go", text, &names);
}

/// The points that would go after the swap, when one more is there.
fn going(plan: &Plan, context: &Context, rules: Rules) -> Vec<(String, u64)> {
    let (project, name) = (plan.project(), plan.environment_name());
    let known = known_destinations(project, name, &values(context), Some(plan), &Scope::of(plan).state());
    let points = scan(&known, name).points;
    let with_the_new = Rules {
        keep: rules.keep.saturating_sub(1),
        ..rules
    };
    let now = context.clock.now().timestamp();
    let going = points::superfluous(&points, with_the_new, &Scope::of(plan).instance(&context.host), now);
    going
        .into_iter()
        .map(|point| (point.id(), points::taken(point)))
        .collect()
}

/// Compares every source with what is present, from the first target whose catalog can be read.
async fn changes(
    plan: &Plan,
    (backup, opening): (&Backup, Opening),
    destinations: BTreeMap<SourceName, Destination>,
) -> Result<Vec<Change>, Failure> {
    let (project, mut record, targets) = (plan.project().to_owned(), backup.record.clone(), backup.targets.clone());
    if let Opening::Epoch(keys) = &opening {
        record.unlock(&keys.chunk_key);
    }
    let handle = tokio::runtime::Handle::current();
    let work = move || {
        let mut failure: Failure = Vec::new();
        for target in targets {
            let catalog = Catalog {
                lines: Lines::new(&target, &record, &opening, handle.clone()),
                waiting: None,
            };
            match compare_all(catalog, &project, &record, &destinations) {
                Ok(changes) => return Ok(changes),
                Err(problem) => failure.push(problem),
            }
        }
        Err(failure)
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| vec![Diagnostic::error(Code::Internal, "the comparison ended early").why(error.to_string())])?
}

/// The catalog of a backup, a segment at a time.
struct Catalog {
    lines: Lines,
    waiting: Option<Listed>,
}

impl Catalog {
    /// The next entry, where it is one of `source`.
    fn next_of(&mut self, source: &SourceName) -> Result<Option<Listed>, UnpackError> {
        while self.waiting.is_none() {
            match self.lines.next()? {
                Some(Line::Entry(listed)) => self.waiting = Some(*listed),
                Some(Line::Superseded { .. } | Line::Gone { .. }) => {}
                None => return Ok(None),
            }
        }
        Ok(self.waiting.take_if(|listed| listed.source == *source))
    }
}

fn compare_all(
    mut catalog: Catalog,
    project: &Path,
    record: &Record,
    destinations: &BTreeMap<SourceName, Destination>,
) -> Result<Vec<Change>, Diagnostic> {
    let mut changes = Vec::new();
    for source in &record.sources {
        let Some(destination) = destinations.get(&source.name) else {
            let mut skip = || catalog.next_of(&source.name);
            while skip().map_err(|error| Diagnostic::of(&error))?.is_some() {}
            continue;
        };
        let selects = match &destination.source {
            Some((here, form)) => Some(
                here.selects(project, &destination.path, *form)
                    .map_err(|error| Diagnostic::of(&error))?,
            ),
            None => None,
        };
        let present = Present {
            root: &destination.path,
            selects: &|path, is_folder| selects.as_ref().is_none_or(|s| s.selects(path, is_folder)),
            databases: destination.is_databases(),
        };
        let entries = || {
            let next = catalog.next_of(&source.name)?;
            Ok(next.map(|listed| (listed.entry, listed.redacted)))
        };
        let found = compare(&present, entries).map_err(|error| not_compared(&destination.path, error))?;
        let is_log = matches!(&destination.source, Some((here, _)) if matches!(here.kind, SourceKind::AppendLog(_)));
        let log = match (&source.log_head, &selects) {
            (Some(head), Some(selects)) if is_log => rewound(&destination.path, selects, head),
            _ => None,
        };
        changes.push(Change {
            name: source.name.clone(),
            destination: destination.path.clone(),
            found,
            log,
            kept_bytes: space::taken(&destination.path),
        });
    }
    Ok(changes)
}

fn not_compared(path: &Path, error: CompareError<UnpackError>) -> Diagnostic {
    match error {
        CompareError::Catalog(error) => Diagnostic::of(&error).help(error.help().unwrap_or_default()),
        CompareError::Present(error) => {
            let what = format!("`{}` cannot be compared with the backup", path.display());
            Diagnostic::error(Code::RestoreFailed, what).why(error.to_string())
        }
    }
}

fn changes_table(changes: &[Change], outcome: &mut Outcome) {
    let mut table = Table {
        title: "what would change, by kind, size and time of last change; contents are not read".into(),
        columns: [
            "source",
            "destination",
            "added",
            "changed",
            "deleted",
            "carried over",
            "stay, redacted",
            "same",
        ]
        .map(String::from)
        .to_vec(),
        rows: Vec::new(),
    };
    let mut list = Vec::new();
    for change in changes {
        let found = &change.found;
        table.rows.push(vec![
            change.name.to_string(),
            change.destination.display().to_string(),
            found.added.count.to_string(),
            found.changed.count.to_string(),
            found.deleted.count.to_string(),
            found.carried.count.to_string(),
            found.beside.count.to_string(),
            found.same.to_string(),
        ]);
        list.push(json!({
            "source": change.name, "destination": change.destination.display().to_string(),
            "added": tally(&found.added), "changed": tally(&found.changed), "deleted": tally(&found.deleted),
            "carried": tally(&found.carried), "beside": tally(&found.beside), "same": found.same,
            "rewound-records": change.log.as_ref().and_then(|log| log.records),
            "kept-bytes": change.kept_bytes,
        }));
    }
    outcome.tables.push(table);
    outcome.tables.extend(paths_table(changes));
    outcome.json.insert("differences".into(), list.into());
}

/// The first paths of each kind; nothing where nothing would change.
fn paths_table(changes: &[Change]) -> Option<Table> {
    let mut paths = Table {
        title: format!("the first {LISTED} of each"),
        columns: ["source", "what", "path"].map(String::from).to_vec(),
        rows: Vec::new(),
    };
    for change in changes {
        let found = &change.found;
        for (what, tally) in [
            ("added", &found.added),
            ("changed", &found.changed),
            ("deleted", &found.deleted),
            ("carried over", &found.carried),
            ("stays", &found.beside),
        ] {
            for path in tally.first.iter().take(LISTED) {
                let shown = if path.is_root() { ".".into() } else { path.display() };
                paths.rows.push(vec![change.name.to_string(), what.into(), shown]);
            }
        }
    }
    (!paths.rows.is_empty()).then_some(paths)
}

fn tally(tally: &Tally) -> serde_json::Value {
    let first: Vec<String> = tally.first.iter().map(TreePath::display).collect();
    json!({ "count": tally.count, "bytes": tally.bytes, "first": first })
}
