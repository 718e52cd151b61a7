//! `keys show`, `keys add`, `keys rotate`: the epochs that backups are sealed in, and for whom their keys are sealed.

mod show;
mod whose;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;

use crate::archive::epoch::{self, KEY_OBJECT_MAX};
use crate::archive::keys::{ChunkKey, EpochKeys};
use crate::archive::layout;
use crate::crypto::age::{AgeError, Identity, Recipient};
use crate::diagnostic::{Code, Diagnostic};
use crate::outcome::{Outcome, Table};
use crate::target::{Created, Target, TargetError};
use crate::units::counted;

use super::super::epochs::{Kept, not_kept, repository_id, seems_sealed_to};
use super::super::fence::Act;
use super::super::opening::Opener;
use super::super::stores::{Keys, state_of};
use super::{Failure, Keeper, Upkeep};

use show::show;
use whose::Whose;

const UNTOUCHED: &str = "no key was changed";

const ADD: Act<'static> = Act {
    does: "lets every recipient that is named now read all backups of",
    doing: "sealing its keys anew",
    untouched: UNTOUCHED,
    before: "",
};

const ROTATE: Act<'static> = Act {
    does: "has the next backup store everything anew of",
    doing: "beginning a new epoch",
    untouched: UNTOUCHED,
    before: "",
};

/// Shows the keys of an environment; with an identity also whether it opens them.
pub(crate) async fn show_keys(upkeep: &Upkeep<'_>, identity: Option<&Path>) -> Outcome {
    let shown = show(upkeep, identity).await;
    shown.unwrap_or_else(|failure| Outcome::failed("keys", "", failure))
}

/// How the keys of an environment are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeysChange<'a> {
    /// They are sealed to the recipients that the environment names, by whoever can open them.
    Add(Option<&'a Path>),
    /// New ones are made for backups from now on.
    Rotate,
}

/// Changes them.
pub(crate) async fn change_keys(upkeep: &Upkeep<'_>, change: KeysChange<'_>) -> Outcome {
    match Keeper::begin("keys", upkeep) {
        Ok(mut keeper) => {
            let result = match change {
                KeysChange::Add(identity) => keeper.add(identity).await,
                KeysChange::Rotate => keeper.rotate().await,
            };
            keeper.end(result)
        }
        Err(failure) => Outcome::failed("keys", "", failure),
    }
}

/// The key objects of an epoch.
#[derive(Default)]
struct Found {
    /// Names, and the places in the list of targets where each lies.
    objects: BTreeMap<String, Vec<usize>>,
    /// What tells its chunk key from others: by the host's own, else by the records that name it. Nothing where none says.
    checks: BTreeSet<String>,
}

impl Found {
    /// Takes what tells the chunk key of the epoch `name` from the host, else from what records say.
    fn check_by(&mut self, name: &str, host: Option<ChunkKey>, records: &BTreeMap<String, BTreeSet<String>>) {
        self.checks = match host {
            Some(key) => BTreeSet::from([key.check()]),
            None => records.get(name).cloned().unwrap_or_default(),
        };
    }

    /// Places where any of them lies.
    fn places(&self) -> Vec<usize> {
        let mut places: Vec<usize> = self.objects.values().flatten().copied().collect();
        places.sort_unstable();
        places.dedup();
        places
    }
}

/// Looks up the key objects of all epochs.
async fn found(targets: &[Target]) -> Result<BTreeMap<String, Found>, Failure> {
    let mut epochs: BTreeMap<String, Found> = BTreeMap::new();
    for (place, target) in targets.iter().enumerate() {
        let listed = target
            .list(layout::KEYS)
            .await
            .map_err(|error| failed(target, &error))?;
        for (object, _) in listed {
            if let Some((epoch, _)) = layout::parse_key(&object) {
                let found = epochs.entry(epoch.to_owned()).or_default();
                found.objects.entry(object).or_default().push(place);
            }
        }
    }
    Ok(epochs)
}

/// An epoch that was opened, with what the target says of its making. Whoever once could open its keys could have put the right
/// identity there with a wrong chunk key: that one is passed over.
async fn opened(
    targets: &[Target],
    name: &str,
    found: &Found,
    identities: &[Identity],
) -> Result<Option<(EpochKeys, String)>, Failure> {
    for (object, places) in &found.objects {
        for target in places.iter().filter_map(|place| targets.get(*place)) {
            let sealed = target
                .read(object, KEY_OBJECT_MAX)
                .await
                .map_err(|error| failed(target, &error))?;
            if let Ok(opened) = epoch::open_keys(name, object, &sealed, identities)
                && (found.checks.is_empty() || found.checks.contains(&opened.0.chunk_key.check()))
            {
                return Ok(Some(opened));
            }
        }
    }
    Ok(None)
}

impl Keeper<'_> {
    async fn present_targets(&mut self) -> Result<Vec<Target>, Failure> {
        let (targets, warnings) = self.upkeep.present_targets().await?;
        for warning in warnings {
            self.warn(warning);
        }
        Ok(targets)
    }

    /// Who may read: those that the environment names.
    fn recipients(&self) -> Result<&[Recipient], Failure> {
        let recipients = &self.upkeep.environment.encryption.recipients;
        if recipients.is_empty() {
            let what = format!("environment `{}` names no recipients", self.upkeep.name);
            return Err(vec![Diagnostic::error(Code::MissingKey, what).state(UNTOUCHED).help(
                "`strongroom keys new FILE` makes a key; its recipient goes under `[encryption]` into `recipients`",
            )]);
        }
        Ok(recipients)
    }

    /// What this host keeps of the repository that the targets are.
    async fn kept(&self, targets: &[Target]) -> Result<Kept, Failure> {
        let repository = repository_id(targets)
            .await
            .map_err(|problem| vec![problem.state(UNTOUCHED)])?;
        let upkeep = self.upkeep;
        let state = state_of(upkeep.environment, upkeep.project, upkeep.name);
        Kept::open(&state, &repository).map_err(|error| vec![not_kept(&error, UNTOUCHED)])
    }

    async fn add(&mut self, identity: Option<&Path>) -> Result<(), Failure> {
        let recipients = self.recipients()?.to_vec();
        let targets = self.present_targets().await?;
        let mut kept = self.kept(&targets).await?;
        let epochs = self.own(&targets, &kept).await?;
        let Some(first) = epochs.keys().next() else {
            return Err(vec![nothing_sealed(self.upkeep)]);
        };
        let identities = identities(self.upkeep, identity, first).await?;
        self.confirm(&ADD).await?;
        let (mut rows, mut closed) = (Vec::new(), Vec::new());
        for (name, found) in &epochs {
            self.check_stop("the keys sealed so far open for the new recipients too")?;
            let Some((keys, created)) = opened(&targets, name, found, &identities).await? else {
                closed.push(not_opened(name));
                continue;
            };
            let places = self
                .seal_anew((&keys, &created), &recipients, &targets, found, &mut kept)
                .await?;
            rows.push((name.clone(), created, places));
        }
        describe_added(&mut self.outcome, &rows, recipients.len());
        if closed.is_empty() { Ok(()) } else { Err(closed) }
    }

    /// The epochs that are this environment's alone: its records name them, or its host has them. What lies in the targets
    /// beside them is left alone, and so is what backups of another environment are sealed in.
    async fn own(&mut self, targets: &[Target], kept: &Kept) -> Result<BTreeMap<String, Found>, Failure> {
        let mut epochs = found(targets).await?;
        let whose = Whose::look(targets, self.upkeep.name).await?;
        let all = epochs.len();
        epochs.retain(|name, _| whose.is_named_here(name) || kept.epochs.chunk_key(name).is_some());
        for (name, found) in &mut epochs {
            found.check_by(name, kept.epochs.chunk_key(name), whose.checks());
        }
        let refused: Vec<(String, Diagnostic)> = epochs
            .keys()
            .filter_map(|name| Some((name.clone(), whose.refusal(name)?)))
            .collect();
        for (name, refusal) in refused {
            epochs.remove(&name);
            self.warn(refusal);
        }
        let left = all - epochs.len();
        if left > 0 {
            let text = format!(
                "{}, not or not only of `{}`",
                counted(left as u64, "epoch"),
                self.upkeep.name
            );
            self.outcome.field("left-alone", "left alone", text, left);
        }
        Ok(epochs)
    }

    /// Seals the keys of an epoch to `recipients` in every target; gives in how many they were put.
    async fn seal_anew(
        &mut self,
        (keys, created): (&EpochKeys, &str),
        recipients: &[Recipient],
        targets: &[Target],
        found: &Found,
        kept: &mut Kept,
    ) -> Result<usize, Failure> {
        let (name, sealed) = epoch::seal_keys(keys, recipients, created).map_err(|error| vec![unmade(error)])?;
        // All targets and the host have the same bytes: those that one of them has already.
        let there = found.objects.get(&name).map(Vec::as_slice).unwrap_or_default();
        let known = self
            .sound(&name, recipients, there.iter().filter_map(|place| targets.get(*place)))
            .await?;
        let sealed = known.unwrap_or(sealed);
        let wanting: Vec<&Target> = targets
            .iter()
            .enumerate()
            .filter_map(|(place, target)| (!there.contains(&place)).then_some(target))
            .collect();
        if !wanting.is_empty() {
            self.evidence.keys_sealed(&keys.name, recipients, &wanting)?;
        }
        for target in &wanting {
            let created = target.create(&name, sealed.clone()).await;
            if created.map_err(|error| failed(target, &error))? == Created::New {
                continue;
            }
            // Another one did the same meanwhile. Either serves; a backup tells of it where they differ.
            self.sound(&name, recipients, std::iter::once(*target)).await?;
        }
        let host = kept.epochs.0.iter_mut().find(|epoch| epoch.name == keys.name);
        if let Some(host) = host.filter(|host| host.objects.iter().all(|(object, _)| *object != name)) {
            host.objects.push((name, sealed));
            kept.write()
                .map_err(|error| vec![not_kept(&error, "the targets have the keys, the host does not know")])?;
        }
        Ok(wanting.len())
    }

    /// The first of the objects of a name that could be sealed to these recipients; the others are told.
    async fn sound<'t>(
        &mut self,
        name: &str,
        recipients: &[Recipient],
        targets: impl Iterator<Item = &'t Target>,
    ) -> Result<Option<Bytes>, Failure> {
        let mut sound = None;
        for target in targets {
            match target.read(name, KEY_OBJECT_MAX).await {
                Ok(bytes) if seems_sealed_to(&bytes, recipients) => drop(sound.get_or_insert(bytes)),
                Ok(_) | Err(TargetError::TooLarge { .. }) => self.warn(unsound(target, name)),
                Err(error) => return Err(failed(target, &error)),
            }
        }
        Ok(sound)
    }

    async fn rotate(&mut self) -> Result<(), Failure> {
        let recipients = self.recipients()?.to_vec();
        let targets = self.present_targets().await?;
        let mut kept = self.kept(&targets).await?;
        let Some(past) = kept.epochs.current().map(|epoch| epoch.name.clone()) else {
            return Err(vec![nothing_sealed(self.upkeep)]);
        };
        self.confirm(&ROTATE).await?;
        let why = ("rotated", &self.upkeep.context.clock.now());
        let name = kept.begin(&recipients, why, &mut self.evidence, UNTOUCHED)?;
        self.outcome.headline = format!("epoch {name} begins with the next backup, which stores everything anew");
        self.outcome.field("epoch", "epoch", name.clone(), &name);
        self.outcome.field("past", "the one before", past.clone(), &past);
        let count = recipients.len();
        self.outcome.field("recipients", "recipients", count.to_string(), count);
        Ok(())
    }
}

async fn identities(upkeep: &Upkeep<'_>, file: Option<&Path>, epoch: &str) -> Result<Vec<Identity>, Failure> {
    let mut keys = Keys::unread(upkeep.environment, upkeep.project, upkeep.context);
    let mut opener = Opener::new(upkeep.environment, file);
    let identities = opener.identities(epoch, &mut keys).await;
    identities.map_err(|problem| vec![problem.state(UNTOUCHED)])
}

fn failed(target: &Target, error: &TargetError) -> Failure {
    let mut problem = Diagnostic::of(error).state("what was done before stands; do it again when the target answers");
    problem.what = format!("target `{}`: {}", target.name(), problem.what);
    vec![problem]
}

fn unmade(error: AgeError) -> Diagnostic {
    Diagnostic::error(Code::Internal, "the keys of an epoch cannot be sealed")
        .why(error.to_string())
        .state(UNTOUCHED)
}

fn nothing_sealed(upkeep: &Upkeep<'_>) -> Diagnostic {
    Diagnostic::error(Code::Usage, format!("no backup of `{}` was sealed yet", upkeep.name))
        .why("keys are made by the first backup with an `encrypt` step")
        .state(UNTOUCHED)
        .help("add an `encrypt` step behind `compress`, and make a backup")
}

fn not_opened(epoch: &str) -> Diagnostic {
    Diagnostic::error(
        Code::KeyMissing,
        format!("the keys of epoch {epoch} were not sealed anew"),
    )
    .why("the identity at hand opens none of their objects, or what it opens is damaged or not what the backups were made with")
    .state("backups of this epoch open for those whom its keys were sealed to")
    .help("give an identity that opens them: `--identity FILE`")
}

fn unsound(target: &Target, object: &str) -> Diagnostic {
    let what = format!(
        "target `{}`: `{object}` is nothing that is sealed to so many",
        target.name()
    );
    Diagnostic::warning(Code::Damaged, what)
        .state("it was left as it is; the new recipients may not open backups there")
        .help("move the object away, and do it again")
}

fn describe_added(outcome: &mut Outcome, rows: &[(String, String, usize)], recipients: usize) {
    let sealed = rows.iter().filter(|(_, _, places)| *places > 0).count();
    outcome.headline = match sealed {
        0 => "every key is sealed to these recipients already".into(),
        _ => format!(
            "the keys of {} were sealed to {}",
            counted(sealed as u64, "epoch"),
            counted(recipients as u64, "recipient")
        ),
    };
    let list = rows
        .iter()
        .map(|(epoch, created, places)| serde_json::json!({ "epoch": epoch, "created": created, "targets": places }));
    outcome.field("recipients", "recipients", recipients.to_string(), recipients);
    outcome.json.insert("epochs".into(), list.collect());
    outcome.tables.push(Table {
        title: String::new(),
        columns: ["epoch", "made", "put into targets"].map(String::from).to_vec(),
        rows: rows
            .iter()
            .map(|(epoch, created, places)| vec![epoch.clone(), created.clone(), places.to_string()])
            .collect(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::epoch::HostEpoch;

    #[tokio::test]
    async fn a_wrong_chunk_key_beside_the_sound_keys_is_sealed_for_nobody() {
        let identity = Identity::generate().unwrap();
        let recipients = [identity.recipient()];
        let epoch = HostEpoch::create(&recipients, "now").unwrap();
        let (name, sealed) = epoch.objects.first().unwrap();
        let identities = std::slice::from_ref(&identity);
        let (keys, _) = epoch::open_keys(&epoch.name, name, sealed, identities).unwrap();
        let wrong = EpochKeys {
            chunk_key: ChunkKey::new([7; 32]),
            ..keys
        };
        let (_, forged) = epoch::seal_keys(&wrong, &recipients, "now").unwrap();
        let target = Target::memory("local".parse().unwrap());
        // It is looked at before any other.
        target
            .create(&layout::key(&epoch.name, "00000000"), forged)
            .await
            .unwrap();
        let targets = [target];
        let look = async || {
            let mut found = found(&targets).await.unwrap().remove(&epoch.name).unwrap();
            found.checks.insert(epoch.chunk_key.check());
            opened(&targets, &epoch.name, &found, identities).await.unwrap()
        };
        assert!(look().await.is_none());
        targets[0].create(name, sealed.clone()).await.unwrap();
        assert_eq!(look().await.unwrap().0.chunk_key, epoch.chunk_key);
    }
}
