//! What each actor of the model does, with the library's own parts.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use strongroom::archive::layout::{self, FORMAT};
use strongroom::archive::pack;
use strongroom::archive::policy::Policy;
use strongroom::archive::record::Record;
use strongroom::archive::refs::{self, Ref, Refs};
use strongroom::archive::repository::{self, Lineage, RepositoryError};
use strongroom::archive::retention::{self, Known, Rules};
use strongroom::archive::signature::statement;
use strongroom::archive::sums;
use strongroom::archive::survey::Held;
use strongroom::archive::sweep::doomed::{self, Doomed};
use strongroom::archive::sweep::{Amount, Settings, SweepError, Sweeper, Witness};
use strongroom::clock::{Clock as _, FixedClock};
use strongroom::codec::Codec;
use strongroom::crypto::Digest;
use strongroom::crypto::note::Signer;
use strongroom::id::{BackupId, EnvName, RunId};
use strongroom::target::{Created, Target};

use super::Lots;

/// Two environments share the repository, each with two instances.
pub(crate) const ENVIRONMENTS: [&str; 2] = ["dev", "live"];
pub(super) const MAX_RUN: Duration = Duration::from_hours(24);
const GRACE: Duration = Duration::from_hours(72);
/// Contents of which all packs and segments are made, so that backups share them.
const CONTENTS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// What is wrong with the backups of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    /// They read no list, neither at their begin nor behind their record.
    IgnoresLists,
    /// They write their record however late it is, and do not look back.
    IsNeverTooLong,
    /// They do not look, behind their record, whether what they need is there.
    NeverLooksBack,
    /// Whoever copies a backup into another store begins with its record.
    CopiesRecordFirst,
    /// Whoever copies a backup into another store sees no lists there.
    CopiesBlindly,
}

/// How an actor ended.
pub(crate) enum End {
    Stored,
    Withdrawn,
    TooLong,
    Swept(u64),
    Purged(u64),
    /// So many backups were copied.
    CaughtUp(u32),
    Restored,
    Lacking(String),
    Nothing,
    Broken(String),
}

/// What an actor does.
#[derive(Clone, Debug)]
pub(crate) struct Play {
    number: u32,
    act: Act,
    environment: &'static str,
    instance: &'static str,
    place: usize,
    pub(super) lots: [usize; 3],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Backup,
    Retain,
    Sweep,
    Purge,
    Restore,
    /// Copies into its store what that lacks of a line.
    CatchUp,
    /// Leaves something that is no list where lists lie.
    Spoil,
}

impl Play {
    pub(crate) fn draw(lots: &mut Lots, number: u32, purges: bool) -> Self {
        const ACTS: [Act; 20] = [
            Act::Backup,
            Act::Backup,
            Act::CatchUp,
            Act::CatchUp,
            Act::CatchUp,
            Act::CatchUp,
            Act::CatchUp,
            Act::Spoil,
            Act::Backup,
            Act::Backup,
            Act::Backup,
            Act::Backup,
            Act::Backup,
            Act::Retain,
            Act::Retain,
            Act::Sweep,
            Act::Sweep,
            Act::Sweep,
            Act::Restore,
            Act::Purge,
        ];
        Self {
            number,
            act: ACTS[lots.below(ACTS.len() - usize::from(!purges))],
            environment: ENVIRONMENTS[lots.below(2)],
            instance: ["one", "two"][lots.below(2)],
            place: lots.below(2),
            lots: std::array::from_fn(|_| lots.below(1 << 20)),
        }
    }

    /// An act of one line in one store, with one given content and nothing of a parent.
    pub(crate) fn of(act: Act, place: usize, number: u32, content: usize) -> Self {
        Self {
            number,
            act,
            environment: "dev",
            instance: "one",
            place,
            lots: [0, content, 1],
        }
    }

    /// The actor's number, which its backup's id ends with.
    pub(crate) const fn number(&self) -> u32 {
        self.number
    }

    /// The environment it acts in.
    pub(crate) const fn environment(&self) -> &'static str {
        self.environment
    }

    /// The store it acts in.
    pub(crate) const fn place(&self) -> usize {
        self.place
    }

    /// Whether it copies backups that others made.
    pub(crate) fn copies(&self) -> bool {
        self.act == Act::CatchUp
    }

    /// Does it, in its own store; `other` is the one beside it.
    pub(crate) fn work(
        &self,
        (target, other): (Target, Target),
        host: Arc<FixedClock>,
        bug: Bug,
    ) -> Pin<Box<dyn Future<Output = End>>> {
        let play = self.clone();
        Box::pin(async move {
            let done = match play.act {
                Act::Backup => play.backup(&target, &host, bug).await,
                Act::Retain => play.retain(&target, &host).await,
                Act::Sweep => play.sweep_all(&target, &host).await,
                Act::Purge => play.purge(&target, &host).await,
                Act::Restore => play.restore(&target).await,
                Act::CatchUp => play.catch_up(&target, &other, &host, bug).await,
                Act::Spoil => play.spoil(&target).await,
            };
            done.unwrap_or_else(|error| End::Broken(format!("{play:?}: {error}")))
        })
    }

    fn settings(&self, host: &Arc<FixedClock>) -> Settings {
        let [a, b, c, d] = self.number.to_be_bytes();
        Settings {
            run: RunId::new(1, [a, b, c, d, 0, 0, 0, 0, 0, 0]),
            grace: GRACE,
            max_run: MAX_RUN,
            clock: Arc::<FixedClock>::clone(host),
            stop: Arc::default(),
        }
    }

    /// A run of a backup pipeline, as far as the store sees it. It relies on packs of its parent without storing them.
    async fn backup(&self, target: &Target, host: &Arc<FixedClock>, bug: Bug) -> Result<End, RepositoryError> {
        let began = host.uptime();
        let doomed = match bug {
            Bug::IgnoresLists => Doomed::default(),
            _ => Doomed::read(std::slice::from_ref(target)).await,
        };
        let environment: EnvName = self.environment.parse().unwrap();
        let listing = repository::list(std::slice::from_ref(target), &environment).await;
        let lineage = self.lineage();
        let parent = listing.newest(&lineage).map(|backup| backup.record.clone());
        let sequence = parent.as_ref().map_or(1, |record| record.sequence + 1);
        let id: BackupId = format!("20260101T{:06}Z-{:04x}", self.number % 240_000, self.number)
            .parse()
            .unwrap();
        let mut made = Made::default();
        if let Some(parent) = &parent
            && self.lots[2].is_multiple_of(2)
            && let Ok(needed) = refs::read(target, &parent.refs).await
        {
            made.build_on(&needed, &doomed);
        }
        for position in 0..=self.lots[0] % 3 {
            let content = CONTENTS[(self.lots[1] + position * 5) % CONTENTS.len()];
            let (name, stored) = doomed.avoid(content.as_bytes().to_vec(), id.as_str(), pack_name);
            made.put(target, &name, &stored).await?;
        }
        // One archive, or a catalog beside the packs, which backups share as well.
        let form = if self.lots[1].is_multiple_of(3) {
            Form::Archive
        } else {
            Form::Packs
        };
        if form == Form::Packs {
            let segment = format!("segment {}", CONTENTS[self.lots[1] % CONTENTS.len()]);
            let named = |stored: &[u8]| pack::object(layout::catalog, stored).name;
            let (name, stored) = doomed.avoid(segment.into_bytes(), id.as_str(), named);
            made.put(target, &name, &stored).await?;
        } else {
            let archive = layout::archive(&environment, &id, Codec::None);
            made.put(target, &archive, b"archive").await?;
        }
        let Made { refs, mut reused } = made;
        let refs = Refs::new(refs);
        let mut needed: Vec<String> = refs.iter().map(|one| one.name.clone()).collect();
        let listed = refs.to_object().map_err(|error| RepositoryError::Write(error.into()))?;
        let (name, listed) = doomed.avoid(listed, id.as_str(), |stored| pack::object(layout::refs, stored).name);
        if put(target, &name, &listed).await? == Created::Existed {
            reused.push(name.clone());
        }
        needed.push(name);
        let record = self.record(&environment, &id, sequence, (form, &refs, &listed));
        let bytes = record.to_bytes().unwrap();
        let sums = sums::text(&record, &bytes, &refs);
        put(target, &layout::sums(&environment, &id), sums.as_bytes()).await?;
        let signature = signer().sign(&statement(&record, &bytes));
        put(target, &layout::signature(&environment, &id), signature.as_bytes()).await?;
        if bug != Bug::IsNeverTooLong && host.uptime().saturating_sub(began) > MAX_RUN {
            return Ok(End::TooLong);
        }
        let object = layout::record(&environment, &id);
        put(target, &object, &bytes).await?;
        let checked = match bug {
            Bug::None | Bug::CopiesRecordFirst | Bug::CopiesBlindly => doomed::check(target, &needed, &reused).await,
            Bug::IgnoresLists => doomed::check(target, &[], &reused).await,
            Bug::IsNeverTooLong | Bug::NeverLooksBack => Ok(()),
        };
        match checked {
            Ok(()) => Ok(End::Stored),
            Err(RepositoryError::Swept { .. }) => {
                target.delete(&object).await.map_err(|source| failed(target, source))?;
                Ok(End::Withdrawn)
            }
            Err(error) => Err(error),
        }
    }

    fn record(
        &self,
        environment: &EnvName,
        id: &BackupId,
        sequence: u64,
        (form, refs, listed): (Form, &Refs, &[u8]),
    ) -> Record {
        let mut record = serde_json::json!({
            "format": FORMAT, "id": id, "run": "01980000-0000-7000-8000-000000000000", "sequence": sequence, "parent": null,
            "environment": environment, "pipeline": "backup", "instance": self.instance,
            "started": "2026-01-01T00:00:00+00:00", "ended": "", "sources": [],
            "refs": pack::object(layout::refs, listed), "warnings": 0, "manifest": "", "tool": "model",
        });
        let segments = refs.iter().filter(|one| one.name.starts_with("catalogs/"));
        let segments = segments.map(|one| {
            serde_json::json!({ "name": one.name, "bytes": one.bytes, "plain-bytes": 1, "blake3": Digest::of(b""), "lines": 1 })
        });
        record["segments"] = segments.collect();
        if form == Form::Archive {
            record["archive"] = serde_json::json!({ "name": layout::archive(environment, id, Codec::None), "codec": "none",
                "bytes": 7, "plain-bytes": 7, "blake3": Digest::of(b"archive") });
        } else {
            record["packs"] = serde_json::json!({ "count": 1, "bytes": 1, "plain-bytes": 1, "new": 1, "new-bytes": 1 });
        }
        serde_json::from_value(record).unwrap()
    }

    pub(super) fn lineage(&self) -> Lineage {
        Lineage {
            pipeline: "backup".parse().unwrap(),
            instance: strongroom::id::Instance::new(self.instance),
        }
    }

    /// A `retain` step behind a backup that was just confirmed.
    async fn retain(&self, target: &Target, host: &Arc<FixedClock>) -> Result<End, RepositoryError> {
        let settings = self.settings(host);
        let Some(mut sweeper) = Sweeper::begin(target, &settings).await? else {
            return Ok(End::Nothing);
        };
        let survey = sweeper.survey();
        let environment: EnvName = self.environment.parse().unwrap();
        let of_environment = survey
            .held()
            .filter(|held| held.backup.record.environment == environment);
        let backups: Vec<_> = of_environment.map(|held| held.backup.clone()).collect();
        let policy: Policy = format!("keep-last={}", 1 + self.lots[0] % 3).parse().unwrap();
        let rules = Rules {
            policy: &policy,
            max_remove: "100%".parse().unwrap(),
            min_verified: 0,
            now: host.now().timestamp(),
        };
        let newest = backups
            .iter()
            .filter(|backup| backup.lineage() == self.lineage())
            .max_by_key(|backup| backup.rank());
        let Some(newest) = newest else {
            return Ok(End::Nothing);
        };
        let written = layout::record(&environment, &newest.record.id);
        let written = survey.objects().get(&written).map(|info| info.modified);
        if let Some(now) = written
            && !done(sweeper.delete_due(now, &mut Silent).await)?
        {
            return Ok(End::Nothing);
        }
        let chosen = retention::choose(&backups, &self.lineage(), &rules, &Known::default());
        for backup in chosen.map(|chosen| chosen.remove).unwrap_or_default() {
            retention::remove(target, &backup.record).await?;
            sweeper.record_removed(&layout::record(&environment, &backup.record.id));
        }
        done(sweeper.list_unneeded(&mut Silent).await)?;
        Ok(End::Swept(sweeper.swept().deleted.objects))
    }

    async fn sweep_all(&self, target: &Target, host: &Arc<FixedClock>) -> Result<End, RepositoryError> {
        let settings = self.settings(host);
        let Some(mut sweeper) = Sweeper::begin(target, &settings).await? else {
            return Ok(End::Nothing);
        };
        done(sweeper.sweep(&mut Silent).await)?;
        Ok(End::Swept(sweeper.swept().deleted.objects))
    }

    /// `forget --purge` of a backup that is not the newest of its line.
    async fn purge(&self, target: &Target, host: &Arc<FixedClock>) -> Result<End, RepositoryError> {
        let settings = self.settings(host);
        let Some(mut sweeper) = Sweeper::begin(target, &settings).await? else {
            return Ok(End::Nothing);
        };
        let survey = sweeper.survey();
        let mut line: Vec<&Held> = survey
            .held()
            .filter(|held| held.backup.lineage() == self.lineage())
            .collect();
        line.retain(|held| held.backup.record.environment.as_str() == self.environment);
        line.sort_by(|a, b| a.backup.rank().cmp(&b.backup.rank()));
        line.pop();
        let Some(victim) = line.get(self.lots[0] % line.len().max(1)) else {
            return Ok(End::Nothing);
        };
        let needed: BTreeSet<String> = victim.needs().collect();
        let record = victim.backup.record.clone();
        retention::remove(target, &record).await?;
        sweeper.record_removed(&layout::record(&record.environment, &record.id));
        done(sweeper.purge(&needed, &mut Silent).await)?;
        Ok(End::Purged(sweeper.swept().deleted.objects))
    }

    /// Reads everything that some backup needs.
    async fn restore(&self, target: &Target) -> Result<End, RepositoryError> {
        let environment: EnvName = self.environment.parse().unwrap();
        let listing = repository::list(std::slice::from_ref(target), &environment).await;
        let Some(backup) = listing.backups.get(self.lots[0] % listing.backups.len().max(1)) else {
            return Ok(End::Nothing);
        };
        let needed = match refs::read(target, &backup.record.refs).await {
            Ok(needed) => needed,
            Err(error) => return Ok(End::Lacking(error.to_string())),
        };
        for one in needed.iter() {
            if target.read(&one.name, 1 << 20).await.is_err() {
                return Ok(End::Lacking(one.name.clone()));
            }
        }
        Ok(End::Restored)
    }
}

/// In what form a backup has its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Archive,
    Packs,
}

/// What a backup needs, and what of it was there before.
#[derive(Default)]
struct Made {
    refs: Vec<Ref>,
    reused: Vec<String>,
}

impl Made {
    /// Relies on packs and segments of an earlier backup, but on none that a sweep listed.
    fn build_on(&mut self, needed: &Refs, doomed: &Doomed) {
        let shared = needed
            .iter()
            .filter(|one| !one.name.starts_with("archives/") && !one.bytes.is_multiple_of(2));
        for one in shared.filter(|one| !doomed.contains(&one.name)) {
            self.refs.push(one.clone());
            self.reused.push(one.name.clone());
        }
    }

    async fn put(&mut self, target: &Target, name: &str, stored: &[u8]) -> Result<(), RepositoryError> {
        if put(target, name, stored).await? == Created::Existed {
            self.reused.push(name.to_owned());
        }
        self.refs.push(one(name, stored.len()));
        Ok(())
    }
}

/// Who signs all backups of the model.
fn signer() -> &'static Signer {
    static SIGNER: OnceLock<Signer> = OnceLock::new();
    SIGNER.get_or_init(|| Signer::generate("model").unwrap())
}

/// Whether a sweep went on to its end. That it is not known what is needed, or that it took too long, is no fault of its own.
fn done(result: Result<(), SweepError<()>>) -> Result<bool, RepositoryError> {
    match result {
        Ok(()) => Ok(true),
        Err(SweepError::Target(error)) => Err(error),
        Err(SweepError::Doubt | SweepError::Witness(()) | SweepError::Slow | SweepError::Stopped) => Ok(false),
    }
}

/// Has nothing to say against anything.
struct Silent;

impl Witness for Silent {
    type Error = ();

    fn listing(&mut self, _: &str, _: Amount) -> Result<(), ()> {
        Ok(())
    }

    fn deleting(&mut self, _: &[String]) -> Result<(), ()> {
        Ok(())
    }

    fn deleted(&mut self, _: Amount) -> Result<(), ()> {
        Ok(())
    }
}

pub(super) async fn put(target: &Target, name: &str, bytes: &[u8]) -> Result<Created, RepositoryError> {
    let created = target.create(name, bytes.to_vec().into()).await;
    created.map_err(|source| failed(target, source))
}

pub(super) fn failed(target: &Target, source: strongroom::target::TargetError) -> RepositoryError {
    RepositoryError::Target {
        target: target.name().clone(),
        source,
    }
}

fn pack_name(stored: &[u8]) -> String {
    let digest = Digest::of(stored).to_string();
    format!("packs/{}/{digest}.tar.zst", &digest[..2])
}

fn one(name: &str, bytes: usize) -> Ref {
    Ref {
        name: name.to_owned(),
        bytes: bytes as u64,
        plain_bytes: 1,
    }
}
