//! `verify`: checks a backup in every target that holds it, whole or a part of it that is another one at each run. Where it is damaged,
//! the files that cannot be had are named; where the damage lies in what no file of the backup needs, that is said.

use serde_json::Value;

use crate::archive::check;
use crate::archive::keys::Opening;
use crate::archive::reading::damage::{self, Look};
use crate::archive::reading::sample::{self, Part};
use crate::archive::reading::{Reading, ReadingError};
use crate::archive::record::Record;
use crate::archive::recovery;
use crate::archive::repository::Backup;
use crate::archive::sums;
use crate::archive::unpack::UnpackError;
use crate::codec::Codec;
use crate::diagnostic::{Code, Diagnostic};
use crate::event::Events;
use crate::outcome::{Outcome, Table};
use crate::steps::verify::Level;
use crate::target::Target;
use crate::units::{ByteCount, counted};

use super::backups::Found;
use super::request::VerifyRequest;
use super::sampling::{self, Samples};
use super::{Session, backups, entries};

/// What is so where an object is damaged in what no file of the backup needs.
const SPARED: &str =
    "no file of this backup is touched: the content of each can still be read from this target; nothing was changed";

/// Verifies the backup.
pub async fn run(request: VerifyRequest, session: &Session) -> Outcome {
    let from = &request.from;
    let found = match backups::open(session, &from.environment, &from.how.targets).await {
        Ok(found) => found,
        Err(failure) => return Outcome::failed("verify", "", failure),
    };
    let (backup, warnings) = match found.choose(&from.backup, from.how.pipeline.as_ref()).await {
        Ok(chosen) => chosen,
        Err(failure) => return Outcome::failed("verify", "", failure),
    };
    let opening = match request.level {
        Level::Objects => Ok(Opening::Plain),
        Level::Content => found.opening(&backup, from.how.identity.as_deref()).await,
    };
    let parts = parts(&request, &backup.record);
    let (opening, parts) = match (opening, parts) {
        (Ok(opening), Ok(parts)) => (opening, parts),
        (_, Err(problem)) => return Outcome::failed("verify", "", vec![problem]),
        (Err(problem), _) => {
            let state = "nothing was checked; `--level objects` needs no key";
            return Outcome::failed("verify", "", vec![problem.state(state)]);
        }
    };
    let mut checking = Checking {
        found: &found,
        backup: &backup,
        request: &request,
        opening,
        samples: parts.map(|parts| (Samples::open(&found.state()), parts)),
    };
    let outcome = Outcome::failed("verify", "", warnings);
    checking.all(outcome).await
}

/// In how many parts the backup is checked; `None` where it is checked whole.
fn parts(request: &VerifyRequest, record: &Record) -> Result<Option<u32>, Diagnostic> {
    let Some(share) = request.sample else { return Ok(None) };
    let refuse = |what: &str, help: &str| {
        let problem = Diagnostic::error(Code::Usage, what).state("nothing was checked");
        Err(problem.help(help))
    };
    match Part::count(share) {
        None => refuse("a sample of nothing checks nothing", "write `--sample 5%`"),
        Some(_) if record.archive.is_some() && request.level == Level::Objects => refuse(
            "of a plain archive, which is one object with one digest, no part can be compared with that",
            "leave `--sample` out, or check the content too: `--level content`",
        ),
        parts => Ok(parts),
    }
}

struct Checking<'c> {
    found: &'c Found,
    backup: &'c Backup,
    request: &'c VerifyRequest,
    opening: Opening,
    samples: Option<(Samples, u32)>,
}

impl Checking<'_> {
    async fn all(&mut self, mut outcome: Outcome) -> Outcome {
        let (backup, record) = (self.backup, &self.backup.record);
        let mut table = Table {
            title: String::new(),
            columns: ["target", "result"].map(String::from).to_vec(),
            rows: Vec::new(),
        };
        let (mut sound, mut spared, mut results) = (0, 0, Vec::new());
        for target in &backup.targets {
            let (result, part) = self.one(target, &mut outcome.diagnostics).await;
            let mut text = match &result {
                Ok(()) => {
                    sound += 1;
                    "sound".to_owned()
                }
                Err(problem) => problem.what.clone(),
            };
            let mut object = serde_json::json!({ "target": target.name(), "sound": result.is_ok() });
            if let Some(part) = part {
                text = format!("part {} of {}: {text}", part.number(), part.of());
                object["part"] = part.number().into();
                object["parts"] = part.of().into();
            }
            results.push(object);
            table.rows.push(vec![target.name().to_string(), text]);
            if let Err(problem) = result {
                let mut state = "nothing was changed";
                let looks = problem.code == Code::Damaged && part.is_none() && self.request.level == Level::Content;
                let lost = if looks {
                    self.lost(target, &mut outcome).await
                } else {
                    None
                };
                // An archive is read from front to back, beside its catalog: what is between the files counts too.
                if lost == Some(0) && record.archive.is_none() {
                    spared += 1;
                    state = SPARED;
                }
                outcome
                    .diagnostics
                    .push(record.of_copy(target.name(), problem).state(state));
            }
        }
        outcome.headline = match backup.targets.len() - sound {
            0 => self.sound(),
            damaged if damaged == spared => format!("backup {} is damaged, but no file of it is", record.id),
            _ => format!("backup {} is damaged", record.id),
        };
        outcome.field("backup", "backup", record.id.to_string(), &record.id);
        let stored = ByteCount(record.stored_bytes()).to_string();
        outcome.field("stored-bytes", "stored", stored, record.stored_bytes());
        outcome.tables.push(table);
        outcome.json.insert("targets".into(), results.into());
        outcome
    }

    fn sound(&self) -> String {
        let id = &self.backup.record.id;
        let what = match (self.request.level, &self.samples) {
            (Level::Objects, None) => "every stored object has its digest",
            (Level::Content, None) => "every stored object and every content has its digest",
            (Level::Objects, Some(_)) => "every stored object of a part has its digest",
            (Level::Content, Some(_)) => "every stored object and every content of a part has its digest",
        };
        format!("backup {id} is sound: {what}")
    }

    /// Tells which files of a damaged copy cannot be had, and gives how many; nothing where nobody can say. All others can be had.
    async fn lost(&self, target: &Target, outcome: &mut Outcome) -> Option<u64> {
        let (record, events) = (&self.backup.record, &self.found.context.events);
        // A stream that only reads from its beginning loses everything behind the first damage.
        if record
            .archive
            .as_ref()
            .is_some_and(|archive| archive.codec == Codec::Gzip)
        {
            return None;
        }
        let handle = tokio::runtime::Handle::current();
        let looked = match Reading::new(target, record, &self.opening, events, handle) {
            Ok(reading) => tokio::task::spawn_blocking(move || damage::lost(&reading, Look::default()))
                .await
                .unwrap_or_else(|_| Err(UnpackError::Died.into())),
            Err(error) => Err(error),
        };
        let lost = match looked {
            Ok(lost) => lost,
            Err(error) => {
                let what = format!("which files are lost in target `{}` cannot be said", target.name());
                let why = Diagnostic::of(&error).what;
                outcome
                    .diagnostics
                    .push(Diagnostic::warning(Code::Damaged, what).why(why));
                return None;
            }
        };
        let mut items = Vec::new();
        let mut table = Table {
            title: format!(
                "{} cannot be read in target `{}`; all others can",
                counted(lost.count, "file"),
                target.name()
            ),
            columns: ["file", "why"].map(String::from).to_vec(),
            rows: Vec::new(),
        };
        for (path, problem) in &lost.first {
            let why = problem.why.clone().unwrap_or_else(|| problem.what.clone());
            table.rows.push(vec![path.display(), why.clone()]);
            let mut item = entries::path(path);
            item.insert("target".into(), target.name().as_str().into());
            item.insert("why".into(), why.into());
            items.push(Value::Object(item));
        }
        if let Some(Value::Array(before)) = outcome.json.get_mut("lost") {
            before.append(&mut items);
        } else {
            outcome.json.insert("lost".into(), items.into());
        }
        let before = outcome.json.get("lost-count").and_then(Value::as_u64).unwrap_or(0);
        outcome.json.insert("lost-count".into(), (before + lost.count).into());
        if lost.count > 0 {
            outcome.tables.push(table);
        }
        Some(lost.count)
    }

    /// Checks the copy in one target; gives the part that was checked too, where it was one.
    async fn one(&mut self, target: &Target, told: &mut Vec<Diagnostic>) -> (Result<(), Diagnostic>, Option<Part>) {
        let signed = self
            .found
            .check_signed(target, self.backup, self.request.from.how.trust_unsigned)
            .await;
        match signed {
            Ok(accepted) => told.extend(accepted),
            Err(problem) => return (Err(problem), None),
        }
        if let Err(error) = sums::check_record(target, &self.backup.record, &self.backup.bytes).await {
            return (Err(Diagnostic::of(&error)), None);
        }
        let (record, level, events) = (&self.backup.record, self.request.level, &self.found.context.events);
        let Some((samples, parts)) = &mut self.samples else {
            let checked = check(target, (record, &self.backup.bytes), (level, &self.opening), events).await;
            return (checked, None);
        };
        let key = sampling::key(target.name(), record, level, *parts);
        let part = samples.next(&key, *parts);
        let checked = check_part(target, record, (level, &self.opening), part, events).await;
        if checked.is_ok() {
            told.extend(samples.passed(&key, *parts).err());
        }
        (checked, Some(part))
    }
}

async fn check(
    target: &Target,
    (record, bytes): (&Record, &[u8]),
    (level, opening): (Level, &Opening),
    events: &Events,
) -> Result<(), Diagnostic> {
    sums::check(target, record, bytes)
        .await
        .map_err(|error| Diagnostic::of(&error))?;
    recovery::check(target, &record.recovery)
        .await
        .map_err(|error| Diagnostic::of(&error))?;
    check::stored(target, record, (level == Level::Content).then_some(opening), events)
        .await
        .map_err(|error| Diagnostic::of(&error))
}

async fn check_part(
    target: &Target,
    record: &Record,
    (level, opening): (Level, &Opening),
    part: Part,
    events: &Events,
) -> Result<(), Diagnostic> {
    sample::check_objects((target, record), part, events)
        .await
        .map_err(|error| Diagnostic::of(&error))?;
    if level == Level::Objects {
        return Ok(());
    }
    let handle = tokio::runtime::Handle::current();
    let reading = Reading::new(target, record, opening, events, handle).map_err(|error| Diagnostic::of(&error))?;
    let checked = tokio::task::spawn_blocking(move || sample::check_content(&reading, part)).await;
    match checked {
        Ok(checked) => checked.map(drop).map_err(|error| Diagnostic::of(&error)),
        Err(_) => Err(Diagnostic::of(&ReadingError::from(UnpackError::Died))),
    }
}
