//! A list of objects that may be deleted later: `sweep/<run id>.json`.

use serde::{Deserialize, Serialize};

use crate::archive::layout::{FORMAT, Kind, SWEEP};
use crate::id::RunId;
use crate::limits::SWEEP_LIST_MAX;
use crate::target::{Target, TargetError};

/// The list, as it is stored: clear JSON, indented.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SweepList {
    /// Format version.
    pub format: u32,
    /// The run that wrote it.
    pub run: RunId,
    /// When the objects go.
    pub when: Urgency,
    /// Objects that no backup needed when the list was written, sorted.
    pub objects: Vec<Listed>,
}

/// When the objects of a list go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Urgency {
    /// When they were listed long enough.
    Later,
    /// At once: they are being deleted, since they are due or an operator purges them. A backup that needs one of them
    /// withdraws.
    AtOnce,
}

/// An object of a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Listed {
    /// Object name.
    pub name: String,
    /// Stored bytes.
    pub bytes: u64,
}

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It went since it was listed.
    #[error("the list is gone")]
    Gone,
    /// The target failed.
    #[error("the list cannot be read")]
    Target(#[source] TargetError),
    /// Not the JSON of a list.
    #[error("the list is not readable")]
    Json(#[source] serde_json::Error),
    /// Made by a newer program.
    #[error("the list has format {0}, this program reads {FORMAT}")]
    Newer(u32),
    /// It names something that no sweep may touch.
    #[error("the list names `{0}`, which no sweep deletes")]
    Object(String),
    /// It lies under the name of another run than it says: the store's time is that of another list.
    #[error("the list is of run {0}, and its name is not")]
    OtherName(RunId),
}

impl SweepList {
    /// The list's bytes.
    ///
    /// # Errors
    /// The serializer's own; never with a list of this program.
    pub fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads a list.
    ///
    /// # Errors
    /// When it is not one that this program writes.
    pub fn parse(bytes: &[u8]) -> Result<Self, ListError> {
        let list: Self = serde_json::from_slice(bytes).map_err(ListError::Json)?;
        if list.format > FORMAT {
            return Err(ListError::Newer(list.format));
        }
        let swept = |listed: &&Listed| !Kind::of(&listed.name).is_some_and(Kind::is_swept);
        match list.objects.iter().find(swept) {
            Some(other) => Err(ListError::Object(other.name.chars().take(200).collect())),
            None => Ok(list),
        }
    }

    /// Reads the list of this name from a target.
    ///
    /// # Errors
    /// When it is gone, the target fails, or it is not a list.
    pub async fn read(target: &Target, object: &str) -> Result<Self, ListError> {
        match target.read(object, SWEEP_LIST_MAX).await {
            Ok(bytes) => {
                let list = Self::parse(&bytes)?;
                let stem = object.strip_prefix(SWEEP).and_then(|file| file.strip_suffix(".json"));
                let number = stem.and_then(|stem| stem.strip_prefix(&list.run.to_string()));
                match number {
                    Some(number) if number.is_empty() || number.starts_with('-') => Ok(list),
                    Some(_) | None => Err(ListError::OtherName(list.run)),
                }
            }
            Err(TargetError::NotFound { .. }) => Err(ListError::Gone),
            Err(error) => Err(ListError::Target(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> SweepList {
        let objects = names.iter().map(|name| Listed {
            name: (*name).to_owned(),
            bytes: 7,
        });
        SweepList {
            format: FORMAT,
            run: RunId::new(1, [0; 10]),
            when: Urgency::Later,
            objects: objects.collect(),
        }
    }

    #[test]
    fn a_list_reads_back_and_says_when_in_a_word() {
        let written = list(&["sums/live/20261121T215100Z-9c41.b3"]);
        let bytes = written.to_bytes().unwrap();
        assert_eq!(SweepList::parse(&bytes).unwrap(), written);
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains("\"when\": \"later\"") && text.ends_with("}\n"), "{text}");
    }

    #[test]
    fn a_list_that_names_a_record_or_something_foreign_is_no_list() {
        for name in [
            "backups/live/20261121T215100Z-9c41.json",
            "repository.json",
            "keys/0123.age",
            "sweep/01920f6e-2b9c-7000-8000-0242ac120002.json",
            "../outside",
        ] {
            let bytes = list(&[name]).to_bytes().unwrap();
            assert!(matches!(SweepList::parse(&bytes), Err(ListError::Object(_))), "{name}");
        }
    }

    #[tokio::test]
    async fn a_list_under_the_name_of_another_run_is_no_list() {
        let target = Target::memory("a".parse().unwrap());
        let written = list(&["sums/live/20261121T215100Z-9c41.b3"]);
        let other = RunId::new(2, [0; 10]);
        let names = [(written.run, 1), (written.run, 2), (other, 1), (other, 2)];
        for (run, number) in names {
            let name = crate::archive::layout::sweep_list(run, number);
            target.create(&name, written.to_bytes().unwrap().into()).await.unwrap();
            let read = SweepList::read(&target, &name).await;
            assert_eq!(read.is_ok(), run == written.run, "{name}: {read:?}");
        }
    }

    #[test]
    fn a_newer_or_broken_list_is_no_list() {
        let newer = SweepList {
            format: FORMAT + 1,
            ..list(&[])
        };
        let bytes = newer.to_bytes().unwrap();
        assert!(matches!(SweepList::parse(&bytes), Err(ListError::Newer(_))));
        assert!(matches!(SweepList::parse(b"{"), Err(ListError::Json(_))));
    }
}
