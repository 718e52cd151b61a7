//! `ls`: what is in a folder of a backup. Of the catalog only those parts are read that may hold it, and no content.

use std::sync::Arc;

use serde_json::Value;

use crate::archive::reading::list::{Depth, list};
use crate::outcome::{Item, Outcome};

use super::request::LsRequest;
use super::{Session, entries, reading};

/// Lists the entries.
pub async fn run(request: LsRequest, session: &Session) -> Outcome {
    let opened = match reading::open(session, &request.from).await {
        Ok(opened) => opened,
        Err(failure) => return Outcome::failed("ls", "", failure),
    };
    let (from, results) = (opened.reading, Arc::clone(&session.results));
    reading::read("ls", opened.warnings, opened.instead, move |outcome| {
        let at = reading::find(&from, request.path.as_deref())?;
        // What is directly in a backup are the roots of its sources.
        let depth: Depth = request.depth;
        outcome.json.insert("backup".into(), from.record().id.as_str().into());
        results.begin_list("ls", "entries")?;
        let mut count = 0_u64;
        let listed = list(&from, at.as_ref(), depth, |listed| {
            count += 1;
            let item = Item {
                text: entries::line(listed),
                json: Value::Object(entries::value(listed)),
            };
            Ok::<_, reading::Ended>(results.item(item)?)
        });
        outcome.json.insert("count".into(), count.into());
        listed
    })
    .await
}
