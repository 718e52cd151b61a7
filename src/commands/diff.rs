//! `diff`: what differs between two backups. Contents are compared by their digests, so no content is read.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::archive::catalog::Listed;
use crate::archive::reading::difference::{Changed, Difference, differences};
use crate::archive::reading::path::BackupPath;
use crate::archive::reading::{Reading, ReadingError};
use crate::outcome::{Item, Outcome};

use super::request::DiffRequest;
use super::{Session, entries, reading};

/// Compares.
pub async fn run(request: DiffRequest, session: &Session) -> Outcome {
    let opened = match reading::open(session, &request.one).await {
        Ok(one) => reading::open(session, &request.other).await.map(|other| (one, other)),
        Err(failure) => Err(failure),
    };
    let (one, other) = match opened {
        Ok(opened) => opened,
        Err(failure) => return Outcome::failed("diff", "", failure),
    };
    let mut warnings = one.warnings;
    for warning in other.warnings {
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    let results = Arc::clone(&session.results);
    let instead = one.instead.filter(|_| other.instead.is_some());
    let (one, other) = (one.reading, other.reading);
    let other = one.sharing(other);
    reading::read("diff", warnings, instead, move |outcome| {
        let scope = scope(&one, &other, request.path.as_deref())?;
        for (key, backup) in [("one", &one), ("other", &other)] {
            outcome.json.insert(key.into(), backup.record().id.as_str().into());
        }
        results.begin_list("diff", "differences")?;
        let mut counts = [0_u64; 3];
        let told = differences(&one, &other, scope.as_ref(), &mut |difference| {
            let [added, removed, changed] = &mut counts;
            *match &difference {
                Difference::Added(_) => added,
                Difference::Removed(_) => removed,
                Difference::Changed { .. } => changed,
            } += 1;
            Ok::<_, reading::Ended>(results.item(item(&difference))?)
        });
        let [added, removed, changed] = counts;
        if told.is_ok() {
            outcome.headline = match counts {
                [0, 0, 0] => "no difference".to_owned(),
                _ => format!("{added} added, {removed} removed, {changed} changed"),
            };
        }
        for (key, count) in [("added", added), ("removed", removed), ("changed", changed)] {
            outcome.json.insert(key.into(), count.into());
        }
        told
    })
    .await
}

/// What was typed, in whichever of the backups has it.
fn scope(one: &Reading, other: &Reading, typed: Option<&[u8]>) -> Result<Option<BackupPath>, ReadingError> {
    match reading::find(one, typed) {
        Err(ReadingError::Unknown { .. }) => reading::find(other, typed),
        found => found,
    }
}

fn item(difference: &Difference) -> Item {
    let one = |sign: char, change: &str, listed: &Listed| {
        let mut object = Map::new();
        object.insert("change".into(), change.into());
        object.extend(entries::value(listed));
        Item {
            text: format!("{sign} {}", BackupPath::of(listed).display()),
            json: object.into(),
        }
    };
    match difference {
        Difference::Added(listed) => one('+', "added", listed),
        Difference::Removed(listed) => one('-', "removed", listed),
        Difference::Changed { before, after, what } => {
            let path = BackupPath::of(after);
            let what = words(what);
            let mut object = Map::new();
            object.insert("change".into(), "changed".into());
            object.extend(entries::path(&path));
            object.insert("what".into(), json!(what));
            for (key, listed) in [("before", before), ("after", after)] {
                let mut side = entries::value(listed);
                side.retain(|key, _| key != "path" && key != "path-b64");
                object.insert(key.into(), Value::Object(side));
            }
            Item {
                text: format!("M {} ({})", path.display(), what.join(", ")),
                json: object.into(),
            }
        }
    }
}

fn words(what: &Changed) -> Vec<&'static str> {
    let kind = what.kind.then_some("kind");
    let content = what.content.then_some("content");
    kind.into_iter()
        .chain(content)
        .chain(what.properties.iter().copied())
        .collect()
}
