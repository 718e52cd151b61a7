//! The epoch that a sealed backup is made in: what this host keeps of it, and what becomes of it where recipients change or the host
//! has lost it.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use jiff::Zoned;
use rustix::fs::FlockOperation;

use crate::archive::epoch::{HostEpoch, HostEpochs, KEY_OBJECT_MAX};
use crate::archive::record::SourceRecord;
use crate::archive::repository::{self, Backup, Lineage, Listing};
use crate::clock;
use crate::crypto::Digest;
use crate::crypto::age::{self, Identity, Recipient};
use crate::diagnostic::{Code, Diagnostic};
use crate::fs::atomic;
use crate::id::{BackupId, SourceName, TargetName};
use crate::target::{Target, TargetError};

use super::backup::NO_BACKUP;
use super::evidence::Evidence;
use super::stores::{Keys, state_path};
use super::{Failure, Runner};

/// The folder of epochs, in the state folder.
const EPOCHS: &str = "epochs";
/// Bytes of a file of epochs that are read.
const FILE_MAX: u64 = 64 << 20;

/// The epochs of a repository as the state folder has them; nobody else changes them meanwhile.
pub(super) struct Kept {
    path: PathBuf,
    repository: String,
    /// What was read.
    pub(super) epochs: HostEpochs,
    /// There was a file, and it could not be used.
    pub(super) damaged: bool,
    _lock: File,
}

impl Kept {
    /// Opens them.
    ///
    /// # Errors
    /// When the state folder does not take a file or does not give one.
    pub(super) fn open(state: &Path, repository: &str) -> std::io::Result<Self> {
        let folder = state.join(EPOCHS);
        std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&folder)?;
        let path = Self::file(state, repository);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.with_extension("lock"))?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
        let (epochs, damaged) = Self::read(&path, repository)?;
        Ok(Self {
            path,
            repository: repository.to_owned(),
            damaged,
            epochs,
            _lock: lock,
        })
    }

    /// Reads them without holding them; none where there is no file, or one of another repository.
    ///
    /// # Errors
    /// When the state folder does not give the file.
    pub(super) fn look(state: &Path, repository: &str) -> std::io::Result<HostEpochs> {
        Ok(Self::read(&Self::file(state, repository), repository)?.0)
    }

    fn file(state: &Path, repository: &str) -> PathBuf {
        state.join(EPOCHS).join(format!("{}.json", name_in_state(repository)))
    }

    /// What the file holds, and whether there is one that is not what was written for this repository.
    fn read(path: &Path, repository: &str) -> std::io::Result<(HostEpochs, bool)> {
        let mut bytes = zeroize::Zeroizing::new(Vec::new());
        match File::open(path) {
            Ok(file) => file.take(FILE_MAX).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((HostEpochs::default(), false)),
            Err(error) => return Err(error),
        };
        let parsed = HostEpochs::parse(&bytes, repository);
        let damaged = parsed.is_none();
        Ok((parsed.unwrap_or_default(), damaged))
    }

    /// Begins an epoch for these recipients and keeps it; the journal hears of it before it is in use.
    ///
    /// # Errors
    /// When the system has no randomness, or the journal or the state folder does not take it.
    pub(super) fn begin(
        &mut self,
        recipients: &[Recipient],
        (why, now): (&str, &Zoned),
        evidence: &mut Evidence,
        state: &str,
    ) -> Result<String, Failure> {
        let epoch = HostEpoch::create(recipients, &clock::written(now)).map_err(|error| {
            vec![
                Diagnostic::error(Code::Internal, "the keys of an epoch cannot be made")
                    .why(error.to_string())
                    .state(state),
            ]
        })?;
        let name = epoch.name.clone();
        evidence.epoch_begun(&name, why)?;
        self.epochs.0.push(epoch);
        self.write().map_err(|error| vec![not_kept(&error, state)])?;
        Ok(name)
    }

    /// Writes them.
    ///
    /// # Errors
    /// When the state folder does not take the file.
    pub(super) fn write(&self) -> std::io::Result<()> {
        atomic::write(&self.path, 0o600, &self.epochs.to_bytes(&self.repository))
    }
}

/// The problem of a state folder that does not keep epochs.
pub(super) fn not_kept(error: &std::io::Error, state: &str) -> Diagnostic {
    Diagnostic::error(
        Code::StateFailed.unless_full(error),
        "the keys that this host seals with cannot be kept in the state folder",
    )
    .why(error.to_string())
    .state(state)
    .help("free space where the state folder lies, or give this user the right to write there")
}

/// What is kept of a repository in the state folder goes by this name. Its id comes from the target: as a digest it is a name and
/// nothing else.
pub(super) fn name_in_state(repository: &str) -> String {
    Digest::of(repository.as_bytes()).to_string().chars().take(16).collect()
}

/// The id of the repository that these targets are.
pub(super) async fn repository_id(targets: &[Target]) -> Result<String, Diagnostic> {
    let Some(target) = targets.first() else {
        return Ok(String::new());
    };
    let opened = repository::open(target).await.map_err(|error| Diagnostic::of(&error))?;
    Ok(opened.map_or_else(String::new, |repository| repository.repository))
}

impl Runner<'_> {
    /// The id of the repository that the targets of this run are; looked up once.
    pub(super) async fn repository(&mut self, targets: &[Target]) -> Result<String, Failure> {
        if let Some(repository) = &self.repository {
            return Ok(repository.clone());
        }
        let found = repository_id(targets).await.map_err(|d| vec![d.state(NO_BACKUP)])?;
        Ok(self.repository.insert(found).clone())
    }

    /// The epochs that this host has in the repository of these targets, the one to seal to last. Where there is none, or where
    /// the newest backup is sealed in one that it does not have, one begins.
    pub(super) async fn epochs(
        &mut self,
        targets: &[Target],
        listing: &Listing,
        lineage: &Lineage,
    ) -> Result<HostEpochs, Failure> {
        let repository = self.repository(targets).await?;
        let kept = Kept::open(&state_path(self.plan), &repository);
        let mut kept = kept.map_err(|error| vec![not_kept(&error, NO_BACKUP)])?;
        let recipients = self.plan.environment().encryption.recipients.clone();
        let newest = listing.newest(lineage).and_then(|backup| backup.record.epoch.clone());
        let lost = kept.damaged || newest.is_some_and(|epoch| kept.epochs.chunk_key(&epoch).is_none());
        // Whoever lost the newest one may have what was rotated out since, and who opens that must not read what comes.
        if kept.epochs.0.is_empty() || lost {
            let why = (if lost { "lost" } else { "first" }, &self.context.clock.now());
            let name = kept.begin(&recipients, why, &mut self.evidence, NO_BACKUP)?;
            if lost {
                self.warn(epoch_lost(&name));
            }
        }
        self.follow_recipients(&mut kept, &recipients, targets).await?;
        self.warn_of_keys(&recipients).await;
        Ok(kept.epochs.clone())
    }

    /// The epochs of backups that were sealed here once, where this one is not.
    pub(super) async fn past_epochs(&mut self, targets: &[Target], listing: &Listing) -> Result<HostEpochs, Failure> {
        if listing.backups.iter().all(|backup| backup.record.epoch.is_none()) {
            return Ok(HostEpochs::default());
        }
        let repository = self.repository(targets).await?;
        let kept = Kept::open(&state_path(self.plan), &repository);
        Ok(kept.map_err(|error| vec![not_kept(&error, NO_BACKUP)])?.epochs)
    }

    /// Looks whether the keys of the epoch are sealed to just the recipients that the environment names. This host cannot seal them
    /// anew, but someone who could may have put the result into a target.
    async fn follow_recipients(
        &mut self,
        kept: &mut Kept,
        recipients: &[Recipient],
        targets: &[Target],
    ) -> Result<(), Failure> {
        let Some(epoch) = kept.epochs.0.last_mut() else {
            return Ok(());
        };
        let wanted = epoch.object_for(recipients);
        if epoch.objects.iter().any(|(name, _)| *name == wanted) {
            return Ok(());
        }
        let (mut sound, mut wrong): (Vec<Bytes>, Vec<&Target>) = (Vec::new(), Vec::new());
        for target in targets {
            match target.read(&wanted, KEY_OBJECT_MAX).await {
                Ok(bytes) if seems_sealed_to(&bytes, recipients) => sound.push(bytes),
                Ok(_) | Err(TargetError::TooLarge { .. }) => wrong.push(target),
                // There is none, or the target fails, which is found when the backup is put there.
                Err(_) => {}
            }
        }
        sound.dedup();
        let mut sound = sound.into_iter();
        let (first, other) = (sound.next(), sound.next());
        let why = match (wrong.first(), first, other) {
            (Some(target), _, _) => format!(
                "`{wanted}` in target `{}` is nothing that is sealed to so many",
                target.name()
            ),
            (None, Some(_), Some(_)) => format!("`{wanted}` is not the same in all targets"),
            (None, Some(bytes), None) => {
                epoch.objects.push((wanted, bytes));
                return kept.write().map_err(|error| vec![not_kept(&error, NO_BACKUP)]);
            }
            (None, None, _) => format!("the keys of epoch {} were sealed to the recipients of then", epoch.name),
        };
        self.warn(recipients_changed(&why));
        Ok(())
    }

    async fn warn_of_keys(&mut self, recipients: &[Recipient]) {
        if recipients.len() == 1 {
            self.warn(one_recipient());
        }
        let environment = self.plan.environment();
        let Some(reference) = environment.encryption.identity.clone() else {
            return;
        };
        let mut keys = Keys::unread(environment, self.plan.project(), self.context);
        // An identity that is named and not here is as it should be.
        let here = keys.resolve(&reference).await.ok();
        if here.is_some_and(|text| Identity::parse_all(text.expose()).is_ok()) {
            self.warn(identity_on_host());
        }
    }
}

/// The newest backup of a log, where what it says of the log is locked by keys that this host does not have.
pub(super) fn unproven<'l>(source: &SourceName, listing: &'l Listing, lineage: &Lineage) -> Option<&'l Backup> {
    let of_line = listing.line(lineage);
    let has = |backup: &&Backup, is: fn(&SourceRecord) -> bool| {
        backup
            .record
            .sources
            .iter()
            .any(|found| found.name == *source && is(found))
    };
    let newest = of_line
        .filter(|backup| has(backup, |found| found.log_head.is_some() || found.locked_head.is_some()))
        .max_by(|a, b| a.rank().cmp(&b.rank()))?;
    has(&newest, |found| found.locked_head.is_some()).then_some(newest)
}

pub(super) fn log_unproven(source: &SourceName, backup: &BackupId) -> Diagnostic {
    let what = format!("log `{source}` was not compared with what backup `{backup}` has of it");
    Diagnostic::warning(Code::EpochLost, what)
        .why("where the log ended is locked in the record, and this host does not have the keys of that epoch")
        .state("the backup goes on; the next one is compared with it")
        .help("restore that backup beside the log, and compare the two, if someone could have changed it meanwhile")
}

fn epoch_lost(name: &str) -> Diagnostic {
    Diagnostic::warning(
        Code::EpochLost,
        "this host has lost the keys that it sealed earlier backups with",
    )
    .why("the state folder does not have them, and by design nothing else on this host does")
    .state(format!(
        "epoch {name} begins: everything is stored anew, and earlier backups open for their recipients as before"
    ))
    .help("nothing is to be done; keep the state folder, so that the next backup stores only what has changed")
}

/// Whether something could be sealed to these: without a key its header is all there is to see.
pub(super) fn seems_sealed_to(sealed: &[u8], recipients: &[Recipient]) -> bool {
    let mut distinct: Vec<String> = recipients.iter().map(ToString::to_string).collect();
    distinct.sort_unstable();
    distinct.dedup();
    let said = age::count_recipients(sealed);
    said.is_ok_and(|said| said == distinct.len() || said == recipients.len())
}

/// The help where a key object is not what it should be.
pub(super) const LOOK_AT_KEYS: &str = "`strongroom keys show --identity FILE` tells which epochs open; move the object away, and \
    let someone who has a key run `strongroom keys add`";

fn recipients_changed(why: &str) -> Diagnostic {
    Diagnostic::warning(
        Code::RecipientsChanged,
        "backups are sealed to other recipients than the environment names",
    )
    .why(why)
    .state("the backup goes on, and opens for those that its keys were sealed to")
    .help(
        "for a new recipient: `strongroom keys add` by someone who has a key; where one must not read what comes: \
         `strongroom keys rotate`, after which the next backup stores everything anew",
    )
}

pub(super) fn other_key(target: &TargetName, object: &str) -> Diagnostic {
    let what = format!("target `{target}`: `{object}` is not the one that this host knows");
    Diagnostic::warning(Code::Damaged, what)
        .why("someone else may have sealed the same keys at the same moment, or it was changed")
        .state("the backup opens for those that this host sealed its keys to")
        .help(LOOK_AT_KEYS)
}

fn identity_on_host() -> Diagnostic {
    Diagnostic::warning(
        Code::IdentityOnHost,
        "the identity that opens the backups lies on the host that makes them",
    )
    .why("whoever breaks into this host reads every backup there is; sealing needs the recipients alone")
    .state("the backup goes on")
    .help("take it away from here, and give it to a restore: `--identity FILE`")
}

fn one_recipient() -> Diagnostic {
    Diagnostic::warning(Code::OneRecipient, "backups are sealed to one recipient only")
        .why("whoever loses that one key has lost every backup")
        .state("the backup goes on")
        .help("make a second key, keep it away from the first, and add it to `recipients`: `strongroom keys new FILE`")
}
