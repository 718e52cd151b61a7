//! `keys show`: the epochs that there are, where their keys lie, and what an identity opens.

use std::path::Path;

use crate::archive::epoch::HostEpoch;
use crate::archive::repository;
use crate::outcome::{Outcome, Table};

use super::super::super::epochs::{Kept, not_kept, repository_id};
use super::super::super::signing::host_signer;
use super::super::super::stores::state_of;
use super::super::{Failure, Upkeep};
use super::whose::checks_of;
use super::{UNTOUCHED, found, identities, opened};

/// One epoch as it is shown.
struct Shown {
    name: String,
    created: String,
    /// `in use`, `past` or nothing.
    here: &'static str,
    targets: Vec<String>,
    backups: usize,
    /// `None` where no identity is at hand.
    opens: Option<bool>,
}

/// Shows them.
pub(super) async fn show(upkeep: &Upkeep<'_>, identity: Option<&Path>) -> Result<Outcome, Failure> {
    let (targets, mut warnings) = upkeep.present_targets().await?;
    let listing = repository::list(&targets, upkeep.name).await;
    warnings.extend(listing.warnings.iter().cloned());
    let mut epochs = found(&targets).await?;
    let repository = repository_id(&targets).await.map_err(|problem| vec![problem])?;
    let host = hosts(upkeep, &repository)?;
    for epoch in &host {
        epochs.entry(epoch.name.clone()).or_default();
    }
    let identities = match (identity, epochs.keys().next()) {
        (Some(file), Some(first)) => Some(identities(upkeep, Some(file), first).await?),
        _ => None,
    };
    let checks = checks_of(&listing);
    let mut shown = Vec::new();
    for (name, found) in &mut epochs {
        let own = host.iter().find(|epoch| epoch.name == *name);
        found.check_by(name, own.map(|epoch| epoch.chunk_key), &checks);
        let opened = match &identities {
            Some(identities) => Some(opened(&targets, name, found, identities).await?),
            None => None,
        };
        let created = own.map(|epoch| epoch.created.clone());
        let told = opened
            .as_ref()
            .and_then(|opened| opened.as_ref().map(|(_, created)| created.clone()));
        let used = host.last().is_some_and(|epoch| epoch.name == *name);
        shown.push(Shown {
            name: name.clone(),
            created: created.or(told).unwrap_or_default(),
            here: match (used, own.is_some()) {
                (true, _) => "in use",
                (false, true) => "past",
                (false, false) => "",
            },
            targets: found
                .places()
                .iter()
                .filter_map(|place| Some(targets.get(*place)?.name().to_string()))
                .collect(),
            backups: listing
                .backups
                .iter()
                .filter(|backup| backup.record.epoch.as_ref() == Some(name))
                .count(),
            opens: opened.map(|opened| opened.is_some()),
        });
    }
    shown.sort_by(|a, b| (&a.created, &a.name).cmp(&(&b.created, &b.name)));
    let mut outcome = describe(upkeep, &shown)?;
    outcome.diagnostics.extend(warnings);
    Ok(outcome)
}

/// The epochs of this host; none where it has no state of this environment.
fn hosts(upkeep: &Upkeep<'_>, repository: &str) -> Result<Vec<HostEpoch>, Failure> {
    let state = state_of(upkeep.environment, upkeep.project, upkeep.name);
    let epochs = Kept::look(&state, repository).map_err(|error| vec![not_kept(&error, UNTOUCHED)])?;
    Ok(epochs.0)
}

fn describe(upkeep: &Upkeep<'_>, shown: &[Shown]) -> Result<Outcome, Failure> {
    let what = match shown.len() {
        0 => format!("no backup of `{}` was sealed yet", upkeep.name),
        1 => "1 epoch".into(),
        count => format!("{count} epochs"),
    };
    let mut outcome = Outcome::new("keys", what);
    let state = state_of(upkeep.environment, upkeep.project, upkeep.name);
    let signer = host_signer(&state).map_err(|error| vec![not_kept(&error, UNTOUCHED)])?;
    if let Some(signer) = signer {
        let key = signer.verifier().to_string();
        outcome.field("signer", "this host signs as", key.clone(), &key);
    }
    let recipients: Vec<String> = upkeep
        .environment
        .encryption
        .recipients
        .iter()
        .map(ToString::to_string)
        .collect();
    if !recipients.is_empty() {
        outcome.field("recipients", "recipients", recipients.join(", "), &recipients);
    }
    let list = shown.iter().map(|one| {
        serde_json::json!({
            "epoch": one.name, "created": one.created, "here": one.here, "targets": one.targets, "backups": one.backups, "opens": one.opens,
        })
    });
    outcome.json.insert("epochs".into(), list.collect());
    if shown.is_empty() {
        return Ok(outcome);
    }
    outcome.tables.push(Table {
        title: String::new(),
        columns: ["epoch", "made", "on this host", "targets", "backups", "opens"]
            .map(String::from)
            .to_vec(),
        rows: shown.iter().map(row).collect(),
    });
    Ok(outcome)
}

fn row(one: &Shown) -> Vec<String> {
    let opens = match one.opens {
        Some(true) => "yes",
        Some(false) => "no",
        None => "not tried",
    };
    let or_dash = |text: &str| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text.to_owned()
        }
    };
    vec![
        one.name.clone(),
        or_dash(&one.created),
        or_dash(one.here),
        or_dash(&one.targets.join(", ")),
        one.backups.to_string(),
        opens.to_owned(),
    ]
}
