//! What it takes to recover without this program: a page for people and a script. Both lie in every target, and every record has
//! their digests.
//!
//! They are put create-only, as everything is. Where something else lies under a name, this program's own lies beside it under
//! a name with its digest.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::crypto::Digest;
use crate::limits::RECORD_MAX;
use crate::target::{Created, Target, TargetError};

use super::layout;
use super::repository::RepositoryError;

/// What is put into each target: its name and its text.
///
/// The number in the script's name is that of the format it reads, with all before it.
const AIDS: [(&str, &str); 2] = [
    ("RECOVERY.md", include_str!("recovery/RECOVERY.md")),
    ("recover-1.py", include_str!("recovery/recover.py")),
];

/// The digest of each, by its name: for the record.
pub fn digests() -> BTreeMap<String, Digest> {
    let digests = AIDS.iter();
    digests
        .map(|(name, text)| ((*name).to_owned(), Digest::of(text.as_bytes())))
        .collect()
}

/// Puts what is missing of them into a target.
///
/// # Errors
/// When the target fails, or has other bytes under a name with a digest.
pub async fn put(target: &Target) -> Result<(), RepositoryError> {
    for (name, text) in AIDS {
        put_one(target, name, Bytes::from_static(text.as_bytes())).await?;
    }
    Ok(())
}

/// Puts what a record tells of and a target lacks, from the first of `sources` that has it. What none of them has, or what
/// cannot be read there, is not missing for a restore, and `verify` tells of it.
///
/// # Errors
/// When the target fails, or has other bytes under a name with a digest.
pub(super) async fn copy(
    target: &Target,
    sources: &[Target],
    recorded: &BTreeMap<String, Digest>,
) -> Result<(), RepositoryError> {
    for (name, digest) in recorded {
        if let Some(text) = find(sources, name, digest).await {
            put_one(target, name, text).await?;
        }
    }
    Ok(())
}

async fn find(sources: &[Target], name: &str, digest: &Digest) -> Option<Bytes> {
    let own = AIDS.iter().map(|(_, text)| Bytes::from_static(text.as_bytes()));
    if let Some(own) = own.into_iter().find(|text| Digest::of(text) == *digest) {
        return Some(own);
    }
    for source in sources {
        for name in names(name, digest) {
            let text = source.read(&name, RECORD_MAX).await.ok();
            if let Some(text) = text.filter(|text| Digest::of(text) == *digest) {
                return Some(text);
            }
        }
    }
    None
}

/// Makes sure that what a record says of them is true: whoever recovers with another script recovers what that one likes.
///
/// # Errors
/// When one is missing or has other bytes, or the target fails.
pub async fn check(target: &Target, recorded: &BTreeMap<String, Digest>) -> Result<(), RepositoryError> {
    for (name, digest) in recorded {
        let mut found = Found::Nothing;
        for name in names(name, digest) {
            found = found.max(look(target, &name, digest).await?);
        }
        match found {
            Found::This => {}
            Found::Another => return Err(damaged(target, name, "has other bytes than the record says")),
            Found::Nothing => return Err(damaged(target, name, "is missing")),
        }
    }
    Ok(())
}

/// What lies under a name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Nothing,
    Another,
    This,
}

/// The name that is tried first, and the one that is taken where something else lies there.
fn names(name: &str, digest: &Digest) -> [String; 2] {
    [name.to_owned(), layout::beside(name, digest)]
}

async fn put_one(target: &Target, name: &str, text: Bytes) -> Result<(), RepositoryError> {
    let digest = Digest::of(&text);
    let [first, second] = names(name, &digest);
    for name in [&first, &second] {
        let mut found = look(target, name, &digest).await?;
        if found == Found::Nothing {
            let created = target.create(name, text.clone()).await;
            found = match created.map_err(|source| unusable(target, source))? {
                Created::New => Found::This,
                // Another run put one there meanwhile.
                Created::Existed => look(target, name, &digest).await?,
            };
        }
        if found == Found::This {
            return Ok(());
        }
    }
    Err(damaged(target, &second, "has other bytes than its name says"))
}

async fn look(target: &Target, name: &str, digest: &Digest) -> Result<Found, RepositoryError> {
    match target.read(name, RECORD_MAX).await {
        Ok(bytes) if Digest::of(&bytes) == *digest => Ok(Found::This),
        Ok(_) | Err(TargetError::TooLarge { .. }) => Ok(Found::Another),
        Err(TargetError::NotFound { .. }) => Ok(Found::Nothing),
        Err(source) => Err(unusable(target, source)),
    }
}

fn unusable(target: &Target, source: TargetError) -> RepositoryError {
    RepositoryError::Target {
        target: target.name().clone(),
        source,
    }
}

fn damaged(target: &Target, object: &str, what: &'static str) -> RepositoryError {
    RepositoryError::Damaged {
        target: target.name().clone(),
        object: object.to_owned(),
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::layout::{FORMAT, Kind};

    fn target() -> Target {
        Target::memory("local".parse().unwrap())
    }

    async fn objects(target: &Target) -> Vec<String> {
        let listed = target.list("").await.unwrap();
        listed.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn the_script_is_that_of_the_format_that_is_written() {
        let script = AIDS[1];
        assert_eq!(script.0, format!("recover-{FORMAT}.py"));
        assert!(script.1.contains(&format!("\nFORMAT = {FORMAT}\n")));
        for (name, text) in AIDS {
            for name in names(name, &Digest::of(text.as_bytes())) {
                assert_eq!(Kind::of(&name), Some(Kind::Recovery), "{name}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_missing_is_put_and_what_is_there_is_left() {
        let target = target();
        put(&target).await.unwrap();
        assert_eq!(objects(&target).await, ["RECOVERY.md", "recover-1.py"]);
        check(&target, &digests()).await.unwrap();
        target.delete("recover-1.py").await.unwrap();
        assert!(check(&target, &digests()).await.is_err());
        put(&target).await.unwrap();
        put(&target).await.unwrap();
        assert_eq!(objects(&target).await, ["RECOVERY.md", "recover-1.py"]);
    }

    #[tokio::test]
    async fn one_that_is_not_that_of_the_record_is_found_wherever_it_lies() {
        let (target, recorded) = (target(), digests());
        assert!(check(&target, &recorded).await.is_err());
        put(&target).await.unwrap();
        check(&target, &recorded).await.unwrap();
        let script = target.read("recover-1.py", RECORD_MAX).await.unwrap();
        target.delete("recover-1.py").await.unwrap();
        let changed = Bytes::from([&script, &b"import os\n"[..]].concat());
        target.create("recover-1.py", changed).await.unwrap();
        let found = check(&target, &recorded).await;
        assert!(matches!(found, Err(RepositoryError::Damaged { object, .. }) if object == "recover-1.py"));
        let beside = layout::beside("recover-1.py", &recorded["recover-1.py"]);
        target.create(&beside, script).await.unwrap();
        check(&target, &recorded).await.unwrap();
    }

    #[tokio::test]
    async fn another_one_under_the_name_stays_and_ours_lies_beside_it() {
        let target = target();
        let other = Bytes::from_static(b"of another version");
        target.create("recover-1.py", other.clone()).await.unwrap();
        put(&target).await.unwrap();
        put(&target).await.unwrap();
        check(&target, &digests()).await.unwrap();
        let digest = digests()["recover-1.py"];
        let beside = format!("recover-1-{digest}.py");
        assert_eq!(
            objects(&target).await,
            ["RECOVERY.md".to_owned(), beside.clone(), "recover-1.py".to_owned()]
        );
        assert_eq!(target.read("recover-1.py", 100).await.unwrap(), other);
        assert_eq!(Digest::of(&target.read(&beside, 1 << 20).await.unwrap()), digest);
        target.delete(&beside).await.unwrap();
        target.create(&beside, other).await.unwrap();
        assert!(matches!(put(&target).await, Err(RepositoryError::Damaged { object, .. }) if object == beside));
    }
}
