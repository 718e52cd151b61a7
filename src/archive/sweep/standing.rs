//! Where each object stands that no backup needs: not listed yet, listed and waiting, or due. A function of data.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};

use crate::archive::layout::Kind;
use crate::archive::repository::RepositoryError;
use crate::archive::survey::{Survey, unusable};
use crate::limits::SURVEY_READS;

use super::Settings;
use super::list::{ListError, Listed, SweepList, Urgency};

/// A list that lies in a target.
#[derive(Debug)]
pub struct Found {
    /// Object name.
    pub name: String,
    /// When the store wrote it.
    pub modified: Timestamp,
    /// The list; `None` where it is not one that this program reads.
    pub list: Option<SweepList>,
}

/// Reads all lists that a survey found.
///
/// # Errors
/// When the target fails.
pub async fn find_lists(survey: &Survey) -> Result<Vec<Found>, RepositoryError> {
    let target = survey.target();
    let names = survey.objects().iter();
    let names = names.filter(|(name, _)| Kind::of(name) == Some(Kind::SweepList));
    let read = names.map(|(name, info)| async move { (name, info.modified, SweepList::read(target, name).await) });
    let read: Vec<_> = futures::stream::iter(read).buffered(SURVEY_READS).collect().await;
    let mut lists = Vec::new();
    for (name, modified, list) in read {
        let list = match list {
            Ok(list) => Some(list),
            Err(ListError::Gone) => continue,
            Err(ListError::Target(error)) => return Err(unusable(target, error)),
            Err(ListError::Json(_) | ListError::Newer(_) | ListError::Object(_) | ListError::OtherName(_)) => None,
        };
        let name = name.clone();
        lists.push(Found { name, modified, list });
    }
    Ok(lists)
}

/// What is to be done with the objects that no backup needs, and with the lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Listed long enough.
    pub due: Vec<Listed>,
    /// Listed, and not long enough.
    pub waiting: Vec<Listed>,
    /// On no list that counts.
    pub unlisted: Vec<Listed>,
    /// Lists that have done their work once what is due is gone.
    pub spent: Vec<String>,
    /// Lists that say nothing: unreadable, or naming something that a backup needs again. What else they name is not listed.
    pub void: Vec<String>,
    /// Those of them that cannot be read.
    pub unreadable: Vec<String>,
}

/// Says where each unneeded object stands at `now`, by the store's clock; `None` where it is not known what is needed.
///
/// A list with an object that a backup needs again says nothing any more: were it left, that object could go without any
/// grace when the backup goes. A list that somebody may be working with at this moment is left alone: one of what goes at once,
/// whose objects are nobody else's to delete meanwhile, and one without objects, which tells a sweep the store's time.
pub fn standing(survey: &Survey, lists: &[Found], now: Timestamp, bounds: &Settings) -> Option<Standing> {
    let needed = survey.needed()?;
    let signed = |span: Duration| SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
    let (grace, max_run) = (signed(bounds.grace), signed(bounds.max_run));
    let mut standing = Standing::default();
    let (mut due, mut waiting, mut taken) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut spent: Vec<(&Found, Vec<&str>)> = Vec::new();
    for found in lists {
        let Some(list) = &found.list else {
            standing.void.push(found.name.clone());
            standing.unreadable.push(found.name.clone());
            continue;
        };
        let names = list.objects.iter().map(|one| one.name.as_str());
        let there: Vec<&str> = names.filter(|name| survey.objects().contains_key(*name)).collect();
        let age = now.duration_since(found.modified);
        let in_use = list.when == Urgency::AtOnce || list.objects.is_empty();
        if in_use && age < max_run {
            taken.extend(there);
        } else if there.iter().any(|name| needed.contains(name)) {
            standing.void.push(found.name.clone());
        } else if there.is_empty() || age >= grace {
            due.extend(there.iter().copied());
            spent.push((found, there));
        } else {
            waiting.extend(there);
        }
    }
    // A list with something that another one takes at this moment is needed again should that one end halfway.
    let spent = spent
        .into_iter()
        .filter(|(_, there)| !there.iter().any(|name| taken.contains(name)));
    standing.spent = spent.map(|(found, _)| found.name.clone()).collect();
    for (name, info) in survey.objects() {
        if !Kind::of(name).is_some_and(Kind::is_swept) || needed.contains(name) {
            continue;
        }
        let stands = if due.contains(name.as_str()) && !taken.contains(name.as_str()) {
            &mut standing.due
        } else if [&due, &waiting, &taken]
            .iter()
            .any(|names| names.contains(name.as_str()))
        {
            &mut standing.waiting
        } else {
            &mut standing.unlisted
        };
        stands.push(Listed {
            name: name.clone(),
            bytes: info.size,
        });
    }
    Some(standing)
}
