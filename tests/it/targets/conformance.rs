//! What every backend of a target must do, whatever it is made of.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures::stream::TryStreamExt;
use strongroom::target::{Created, Target, TargetError};

use super::noise;

/// Checks every promise, each on a fresh target.
pub(super) async fn all(fresh: &dyn Fn() -> Target) {
    an_object_reads_back_and_is_never_overwritten(fresh()).await;
    of_racing_creates_one_wins(fresh()).await;
    of_racing_writers_one_wins(fresh()).await;
    of_racing_writers_of_several_parts_one_object_is_left_whole(fresh()).await;
    ranges_are_exact(fresh()).await;
    pieces_are_bounded_and_whole(fresh()).await;
    a_listing_is_sorted_and_by_folder(fresh()).await;
    a_writer_shows_nothing_before_the_end(fresh()).await;
    a_writer_given_up_leaves_nothing(fresh()).await;
    an_empty_object_is_an_object(fresh()).await;
    what_is_missing_is_missing(fresh()).await;
    a_deleted_object_is_gone_and_may_come_again(fresh()).await;
    odd_names_are_kept_as_they_are(fresh()).await;
    every_character_of_a_name_is_kept(fresh()).await;
    a_listing_has_everything_however_long_it_is(fresh()).await;
    names_that_could_leave_the_target_are_refused(fresh()).await;
    an_object_larger_than_its_reader_takes_is_refused(fresh()).await;
    the_time_of_an_object_is_that_of_its_writing(fresh()).await;
}

async fn whole(target: &Target, object: &str) -> Bytes {
    target.read(object, usize::MAX).await.unwrap()
}

async fn names(target: &Target, prefix: &str) -> Vec<String> {
    let listed = target.list(prefix).await.unwrap();
    listed.into_iter().map(|(name, _)| name).collect()
}

async fn put(target: &Target, object: &str, text: &'static str) {
    let created = target
        .create(object, Bytes::from_static(text.as_bytes()))
        .await
        .unwrap();
    assert_eq!(created, Created::New, "{object}");
}

async fn written(target: &Target, object: &str, content: &Bytes, piece: usize) -> Result<(), TargetError> {
    let mut writer = target.writer(object).await?;
    let mut rest = content.clone();
    while !rest.is_empty() {
        writer.put(rest.split_to(rest.len().min(piece))).await?;
    }
    writer.finish().await
}

async fn an_object_reads_back_and_is_never_overwritten(target: Target) {
    put(&target, "backups/dev/a.json", "first").await;
    let second = target.create("backups/dev/a.json", Bytes::from_static(b"second")).await;
    assert_eq!(second.unwrap(), Created::Existed);
    let streamed = written(&target, "backups/dev/a.json", &Bytes::from_static(b"third"), 2).await;
    assert!(matches!(streamed, Err(TargetError::Existed { .. })), "{streamed:?}");
    assert_eq!(whole(&target, "backups/dev/a.json").await, "first");
    assert_eq!(names(&target, "").await, ["backups/dev/a.json"]);
}

async fn of_racing_creates_one_wins(target: Target) {
    for round in 0..5 {
        let object = format!("race/{round}");
        let racers: Vec<_> = (0..16_u8)
            .map(|racer| {
                let (target, object) = (target.clone(), object.clone());
                tokio::spawn(async move { (racer, target.create(&object, Bytes::from(vec![racer; 1000])).await) })
            })
            .collect();
        let mut winners = Vec::new();
        for racer in racers {
            let (racer, created) = racer.await.unwrap();
            if created.unwrap() == Created::New {
                winners.push(racer);
            }
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(whole(&target, &object).await, vec![winners[0]; 1000]);
    }
}

async fn of_racing_writers_one_wins(target: Target) {
    let racers: Vec<_> = (0..8_u8)
        .map(|racer| {
            let target = target.clone();
            let content = Bytes::from(vec![racer; 100_000]);
            tokio::spawn(async move { (racer, written(&target, "race", &content, 30_000).await) })
        })
        .collect();
    let mut winners = Vec::new();
    for racer in racers {
        match racer.await.unwrap() {
            (racer, Ok(())) => winners.push(racer),
            (_, Err(TargetError::Existed { .. })) => {}
            (_, Err(other)) => panic!("{other:?}"),
        }
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    assert_eq!(whole(&target, "race").await, vec![winners[0]; 100_000]);
}

async fn of_racing_writers_of_several_parts_one_object_is_left_whole(target: Target) {
    let content = noise(9 << 20);
    let racers: Vec<_> = (0..4_u8)
        .map(|racer| {
            let target = target.clone();
            let content = Bytes::from([vec![racer], content.to_vec()].concat());
            tokio::spawn(async move { (racer, written(&target, "race", &content, 4 << 20).await) })
        })
        .collect();
    let mut winners = Vec::new();
    for racer in racers {
        match racer.await.unwrap() {
            (racer, Ok(())) => winners.push(racer),
            (_, Err(TargetError::Existed { .. })) => {}
            (_, Err(other)) => panic!("{other:?}"),
        }
    }
    // Not every store puts parts together under a lock; this program gives two uploads one name only for one content.
    let found = whole(&target, "race").await;
    assert!(winners.contains(&found[0]), "{winners:?}");
    assert!(found[1..] == content);
}

async fn ranged(target: &Target, object: &str, range: std::ops::Range<u64>) -> Result<Bytes, TargetError> {
    let pieces: Vec<Bytes> = target.stream(object, Some(range)).await?.try_collect().await?;
    Ok(pieces.concat().into())
}

async fn ranges_are_exact(target: Target) {
    let content = noise(5_000_000);
    written(&target, "packs/ab/x", &content, 700_000).await.unwrap();
    for range in [
        0..1,
        0..5_000_000,
        4_999_999..5_000_000,
        1_048_575..1_048_577,
        12_345..3_456_789,
        7..7,
    ] {
        let found = ranged(&target, "packs/ab/x", range.clone()).await.unwrap();
        let expected = content.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap());
        assert!(found == expected, "{range:?}");
    }
    for range in [4_999_999..5_000_001, 5_000_000..5_000_001, 9_000_000..9_000_001] {
        let refused = ranged(&target, "packs/ab/x", range.clone()).await;
        // What was cut is damaged, and no store has failed.
        let cut = matches!(refused, Err(TargetError::WrongLength { .. }));
        assert!(cut, "{range:?}: {refused:?}");
    }
}

async fn pieces_are_bounded_and_whole(target: Target) {
    // Beyond two parts of an upload, and not a multiple of anything.
    let content = noise(20_000_003);
    written(&target, "archives/dev/x.tar.zst", &content, 3_333_333)
        .await
        .unwrap();
    let mut stream = target.stream("archives/dev/x.tar.zst", None).await.unwrap();
    let mut found = BytesMut::new();
    while let Some(piece) = stream.try_next().await.unwrap() {
        assert!(!piece.is_empty() && piece.len() <= 1 << 20);
        found.extend_from_slice(&piece);
    }
    assert!(found == content);
    assert_eq!(
        target.head("archives/dev/x.tar.zst").await.unwrap().unwrap().size,
        20_000_003
    );
}

async fn a_listing_is_sorted_and_by_folder(target: Target) {
    for object in ["b/2", "b/10", "b/1/z", "a.b/x", "a/z", "a/b/c", "a-/y", "zz"] {
        put(&target, object, "x").await;
    }
    assert_eq!(
        names(&target, "").await,
        ["a-/y", "a.b/x", "a/b/c", "a/z", "b/1/z", "b/10", "b/2", "zz"]
    );
    assert_eq!(names(&target, "a").await, ["a/b/c", "a/z"]);
    assert_eq!(names(&target, "b/").await, ["b/1/z", "b/10", "b/2"]);
    assert_eq!(names(&target, "c").await, Vec::<String>::new());
}

async fn a_writer_shows_nothing_before_the_end(target: Target) {
    let mut writer = target.writer("archives/x").await.unwrap();
    writer.put(noise(9 << 20)).await.unwrap();
    assert_eq!(names(&target, "").await, Vec::<String>::new());
    assert_eq!(target.head("archives/x").await.unwrap(), None);
    writer.finish().await.unwrap();
    assert_eq!(names(&target, "").await, ["archives/x"]);
}

async fn a_writer_given_up_leaves_nothing(target: Target) {
    let mut dropped = target.writer("archives/dropped").await.unwrap();
    dropped.put(noise(9 << 20)).await.unwrap();
    drop(dropped);
    let mut aborted = target.writer("archives/aborted").await.unwrap();
    aborted.put(noise(17 << 20)).await.unwrap();
    aborted.abort().await.unwrap();
    assert_eq!(names(&target, "").await, Vec::<String>::new());
    put(&target, "archives/dropped", "afresh").await;
}

async fn an_empty_object_is_an_object(target: Target) {
    put(&target, "empty", "").await;
    written(&target, "streamed", &Bytes::new(), 1).await.unwrap();
    for object in ["empty", "streamed"] {
        assert_eq!(target.head(object).await.unwrap().unwrap().size, 0);
        assert_eq!(target.read(object, 0).await.unwrap(), Bytes::new());
        let pieces: Vec<Bytes> = target.stream(object, None).await.unwrap().try_collect().await.unwrap();
        assert_eq!(pieces.concat(), b"");
    }
}

async fn what_is_missing_is_missing(target: Target) {
    put(&target, "folder/object", "x").await;
    for object in ["none", "folder/none", "none/none", "folder", "folder/object/below"] {
        assert_eq!(target.head(object).await.unwrap(), None, "{object}");
        let read = target.read(object, 10).await;
        assert!(matches!(read, Err(TargetError::NotFound { .. })), "{object}: {read:?}");
        let streamed = target.stream(object, Some(0..1)).await.map(|_| ());
        assert!(
            matches!(streamed, Err(TargetError::NotFound { .. })),
            "{object}: {streamed:?}"
        );
        assert_eq!(names(&target, "none").await, Vec::<String>::new());
    }
    target.delete("none/none").await.unwrap();
}

async fn a_deleted_object_is_gone_and_may_come_again(target: Target) {
    put(&target, "a/b", "first").await;
    put(&target, "a/c", "stays").await;
    target.delete("a/b").await.unwrap();
    target.delete("a/b").await.unwrap();
    assert_eq!(names(&target, "").await, ["a/c"]);
    put(&target, "a/b", "second").await;
    assert_eq!(whole(&target, "a/b").await, "second");
}

async fn odd_names_are_kept_as_they_are(target: Target) {
    let long = "n".repeat(255);
    let odd = [
        " ",
        "%2e%2e",
        "...",
        ".hidden",
        "a b",
        "a%20b",
        "a+b&c=d",
        "a:b;c,d",
        "a?b#c",
        "a~",
        "back`tick",
        "q'u\"o",
        "tmp-x",
        "x.tmp-y",
        "{[<|>]}",
        "\u{e9}\u{4e2d}\u{1f512}",
        "e\u{301}",
        long.as_str(),
    ];
    for name in odd {
        let object = format!("odd/{name}/{name}");
        put(&target, &object, "x").await;
        assert_eq!(whole(&target, &object).await, "x", "{object}");
    }
    let mut expected: Vec<String> = odd.iter().map(|name| format!("odd/{name}/{name}")).collect();
    expected.sort();
    assert_eq!(names(&target, "odd").await, expected);
}

async fn every_character_of_a_name_is_kept(target: Target) {
    let allowed = (' '..='~').filter(|c| !matches!(c, '/' | '\\'));
    let mut expected = Vec::new();
    // Several in a name, each of them once at its begin, in its middle and at its end.
    for group in allowed.collect::<Vec<char>>().chunks(8) {
        let text: String = group.iter().collect();
        let back: String = group.iter().rev().collect();
        expected.push(format!("x{text}/{back}x{text}"));
    }
    for object in &expected {
        put(&target, object, "x").await;
    }
    expected.sort();
    assert_eq!(names(&target, "").await, expected);
    for object in &expected {
        assert_eq!(target.head(object).await.unwrap().unwrap().size, 1, "{object}");
        target.delete(object).await.unwrap();
    }
    assert_eq!(names(&target, "").await, Vec::<String>::new());
}

async fn a_listing_has_everything_however_long_it_is(target: Target) {
    // Beyond one answer of S3, which has a thousand names.
    let mut expected: Vec<String> = (0..1100)
        .map(|number| format!("long/{}/{number}", number % 7))
        .collect();
    for some in expected.chunks(100) {
        let puts = some
            .iter()
            .map(|object| target.create(object, Bytes::from_static(b"x")));
        for created in futures::future::join_all(puts).await {
            assert_eq!(created.unwrap(), Created::New);
        }
    }
    expected.sort();
    assert_eq!(names(&target, "").await, expected);
    assert_eq!(names(&target, "long/3").await.len(), 157);
}

async fn names_that_could_leave_the_target_are_refused(target: Target) {
    let long = "n".repeat(256);
    for object in [
        "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a\0b", "a\nb", "a\\b", ".tmp-a",
        "a/.tmp-b", &long,
    ] {
        let created = target.create(object, Bytes::from_static(b"x")).await;
        assert!(
            matches!(created, Err(TargetError::BadName { .. })),
            "{object:?}: {created:?}"
        );
        assert!(target.read(object, 10).await.is_err(), "{object:?}");
        assert!(target.writer(object).await.is_err(), "{object:?}");
        assert!(target.delete(object).await.is_err(), "{object:?}");
    }
    assert_eq!(names(&target, "").await, Vec::<String>::new());
    assert!(target.list("../x").await.is_err());
}

async fn an_object_larger_than_its_reader_takes_is_refused(target: Target) {
    put(&target, "record", "12345").await;
    assert_eq!(target.read("record", 5).await.unwrap(), "12345");
    let read = target.read("record", 4).await;
    assert!(
        matches!(read, Err(TargetError::TooLarge { size: 5, limit: 4, .. })),
        "{read:?}"
    );
}

async fn the_time_of_an_object_is_that_of_its_writing(target: Target) {
    put(&target, "now", "x").await;
    let modified = SystemTime::from(target.head("now").await.unwrap().unwrap().modified);
    let now = SystemTime::now();
    let apart = now.duration_since(modified).unwrap_or_else(|ahead| ahead.duration());
    assert!(apart < Duration::from_hours(1), "{apart:?}");
    assert_eq!(
        target.list("").await.unwrap()[0].1,
        target.head("now").await.unwrap().unwrap()
    );
}
