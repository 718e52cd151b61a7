//! What a local target leaves on the disk, and how its faults come out.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::stream::TryStreamExt;
use strongroom::diagnostic::{Code, Diagnose};
use strongroom::target::faulty::{Fault, Faulty, Operation};
use strongroom::target::local::Local;
use strongroom::target::memory::Memory;
use strongroom::target::recording::Recording;
use strongroom::target::{Created, Target, TargetError};

use super::{name, noise, open, tree};

fn small() -> Bytes {
    Bytes::from_static(b"small")
}

#[tokio::test]
async fn files_are_0600_and_folders_0700_whatever_stands_above() {
    let folder = tempfile::tempdir().unwrap();
    let target = open("file:new/target", folder.path());
    target.create("backups/dev/a.json", small()).await.unwrap();
    let mut writer = target.writer("archives/dev/a.tar.zst").await.unwrap();
    writer.put(small()).await.unwrap();
    writer.finish().await.unwrap();
    let expected = [
        ("new", 0o700),
        ("new/target", 0o700),
        ("new/target/archives", 0o700),
        ("new/target/archives/dev", 0o700),
        ("new/target/archives/dev/a.tar.zst", 0o600),
        ("new/target/backups", 0o700),
        ("new/target/backups/dev", 0o700),
        ("new/target/backups/dev/a.json", 0o600),
    ];
    assert_eq!(
        tree(folder.path()),
        expected.map(|(path, mode)| (path.to_owned(), mode))
    );
}

#[tokio::test]
async fn looking_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let target = open("file:new/target", folder.path());
    assert!(!target.exists().await.unwrap());
    assert_eq!(target.list("").await.unwrap(), []);
    assert_eq!(target.head("a").await.unwrap(), None);
    target.delete("a/b").await.unwrap();
    assert_eq!(tree(folder.path()), []);
    target.create("a", small()).await.unwrap();
    assert!(target.exists().await.unwrap());
}

#[tokio::test]
async fn a_target_that_is_no_folder_is_an_error_and_not_an_empty_target() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), b"").unwrap();
    let target = open("file:file", folder.path());
    assert!(target.exists().await.is_err());
    assert!(target.create("a", small()).await.is_err());
}

#[tokio::test]
async fn writers_given_up_leave_no_file_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let target = open("file:t", folder.path());
    let mut dropped = target.writer("a/dropped").await.unwrap();
    dropped.put(noise(30 << 20)).await.unwrap();
    drop(dropped);
    let mut aborted = target.writer("a/aborted").await.unwrap();
    aborted.put(noise(9 << 20)).await.unwrap();
    aborted.abort().await.unwrap();
    target.create("a/there", small()).await.unwrap();
    let mut late = target.writer("a/there").await.unwrap();
    late.put(noise(9 << 20)).await.unwrap();
    assert!(matches!(late.finish().await, Err(TargetError::Existed { .. })));
    assert_eq!(
        tree(folder.path()),
        [("t", 0o700), ("t/a", 0o700), ("t/a/there", 0o600)].map(|(p, m)| (p.to_owned(), m))
    );
}

#[tokio::test]
async fn a_streamed_object_costs_one_sync_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let local = Local::new(folder.path().join("t"));
    let root = local.root();
    let target = Target::from_store(name(), Arc::new(local));
    target.create("archives/dev/first", small()).await.unwrap();
    // The folder above the target, the target, `archives`, then the file and the folder it stands in.
    assert_eq!(root.syncs(), 5);
    let mut writer = target.writer("archives/dev/second").await.unwrap();
    for _ in 0..100 {
        writer.put(noise(1 << 20)).await.unwrap();
    }
    writer.finish().await.unwrap();
    assert_eq!(root.syncs(), 7);
}

#[tokio::test]
async fn links_below_the_target_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), b"secret").unwrap();
    let root = folder.path().join("t");
    std::fs::create_dir(&root).unwrap();
    symlink(&outside, root.join("backups")).unwrap();
    symlink(outside.join("secret"), root.join("file")).unwrap();
    symlink(outside.join("new"), root.join("dangling")).unwrap();
    let target = open("file:t", folder.path());
    assert!(target.read("backups/secret", 100).await.is_err());
    assert!(target.read("file", 100).await.is_err());
    assert!(target.create("backups/new", small()).await.is_err());
    assert!(target.writer("backups/new").await.is_err());
    assert!(target.delete("backups/secret").await.is_err());
    assert_eq!(target.create("dangling", small()).await.unwrap(), Created::Existed);
    assert_eq!(target.list("").await.unwrap(), []);
    let left: Vec<String> = tree(&outside).into_iter().map(|(path, _)| path).collect();
    assert_eq!(left, ["secret"]);
}

#[tokio::test]
async fn a_target_reached_through_a_link_is_the_folder_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("disk")).unwrap();
    symlink("disk", folder.path().join("t")).unwrap();
    let target = open("file:t/service", folder.path());
    target.create("a", small()).await.unwrap();
    assert!(folder.path().join("disk/service/a").is_file());
}

#[tokio::test]
async fn what_is_no_plain_file_is_neither_listed_nor_read() {
    let folder = tempfile::tempdir().unwrap();
    let target = open("file:t", folder.path());
    target.create("a/object", small()).await.unwrap();
    let at = |path: &str| folder.path().join("t").join(path);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("a/pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    std::fs::write(at("a/.tmp-0123"), b"on its way").unwrap();
    std::fs::write(at("a/two\nlines"), b"").unwrap();
    std::fs::create_dir(at("lost+found")).unwrap();
    std::fs::write(at("lost+found/x"), b"").unwrap();
    let names: Vec<String> = target
        .list("")
        .await
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["a/object"]);
    assert!(target.read("a/pipe", 10).await.is_err());
}

/// How the names of files begin that this host has on their way.
pub(crate) fn leftover_prefix() -> String {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let target = open("file:t", folder.path());
    let writer = runtime.block_on(async {
        let mut writer = target.writer("a/running").await.unwrap();
        writer.put(noise(9 << 20)).await.unwrap();
        writer
    });
    let mut entries = std::fs::read_dir(folder.path().join("t/a")).unwrap();
    let name = entries.next().unwrap().unwrap().file_name().into_string().unwrap();
    drop(writer);
    name[..=name.rfind('-').unwrap()].to_owned()
}

#[test]
fn what_this_host_left_goes_at_once_and_what_another_one_may_be_writing_stays() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("t/a");
    std::fs::create_dir_all(&at).unwrap();
    let own = at.join(format!("{}0000000000000000", leftover_prefix()));
    let held = at.join(format!("{}1111111111111111", leftover_prefix()));
    let other = at.join(".tmp-00000000-0000000000000000");
    for path in [&own, &held, &other] {
        std::fs::write(path, b"half").unwrap();
    }
    let writing = std::fs::File::open(&held).unwrap();
    rustix::fs::flock(&writing, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let target = open("file:t", folder.path());
    runtime.block_on(target.create("a/later", small())).unwrap();
    assert!(!own.exists() && held.exists() && other.exists());
    drop(writing);
    assert_eq!(runtime.block_on(target.clear_leftovers()).unwrap(), 1);
    assert!(!held.exists() && other.exists());
}

#[tokio::test]
async fn leftovers_of_dead_runs_go_and_those_of_running_ones_stay() {
    let folder = tempfile::tempdir().unwrap();
    let running = open("file:t", folder.path());
    let mut writer = running.writer("a/running").await.unwrap();
    writer.put(noise(9 << 20)).await.unwrap();
    let at = folder.path().join("t/a");
    std::fs::write(at.join(".tmp-old"), b"left").unwrap();
    std::fs::write(at.join(".tmp-young"), b"left").unwrap();
    let yesterday = SystemTime::now() - Duration::from_hours(25);
    for entry in std::fs::read_dir(&at).unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with(".tmp-young") {
            std::fs::File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(yesterday)
                .unwrap();
        }
    }
    let later = open("file:t", folder.path());
    later.create("a/later", small()).await.unwrap();
    assert!(!at.join(".tmp-old").exists());
    assert!(at.join(".tmp-young").exists());
    writer.finish().await.unwrap();
    assert_eq!(later.head("a/running").await.unwrap().unwrap().size, 9 << 20);
}

#[tokio::test]
async fn a_target_that_is_swapped_under_a_run_is_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let target = open("file:t", folder.path());
    target.create("a/first", small()).await.unwrap();
    std::fs::rename(folder.path().join("t"), folder.path().join("away")).unwrap();
    std::fs::create_dir(folder.path().join("t")).unwrap();
    target.create("a/second", small()).await.unwrap();
    assert_eq!(tree(&folder.path().join("t")), []);
    assert!(folder.path().join("away/a/second").is_file());
    std::fs::remove_dir_all(folder.path().join("away")).unwrap();
    assert!(!target.exists().await.unwrap());
    assert!(target.create("b/third", small()).await.is_err());
}

#[tokio::test]
async fn a_folder_that_may_not_be_written_is_access_denied() {
    let folder = tempfile::tempdir().unwrap();
    let target = open("file:t", folder.path());
    target.create("a/b", small()).await.unwrap();
    std::fs::set_permissions(folder.path().join("t/a"), std::fs::Permissions::from_mode(0o500)).unwrap();
    let created = target.create("a/c", small()).await;
    std::fs::set_permissions(folder.path().join("t/a"), std::fs::Permissions::from_mode(0o700)).unwrap();
    if rustix::process::geteuid().is_root() {
        // Root may write everywhere; the kind of error is tested beside the code.
        assert_eq!(created.unwrap(), Created::New);
    } else {
        assert!(matches!(created, Err(TargetError::Denied { .. })), "{created:?}");
    }
}

#[tokio::test]
async fn a_failing_or_full_store_is_told_with_target_object_and_remedy() {
    for (operation, fault, code) in [
        (Operation::Put, Fault::DiskFull, Code::DiskFull),
        (Operation::Put, Fault::Fails, Code::TargetFailed),
        (Operation::Begin, Fault::DiskFull, Code::DiskFull),
        (Operation::Part, Fault::DiskFull, Code::DiskFull),
        (Operation::Complete, Fault::DiskFull, Code::DiskFull),
        (Operation::Complete, Fault::Fails, Code::TargetFailed),
    ] {
        let inner = Arc::new(Memory::new());
        let target = Target::from_store(
            name(),
            Arc::new(Faulty::new(inner.clone()).once(operation, "a/", 1, fault)),
        );
        let stored = async {
            target.create("a/small", small()).await?;
            let mut writer = target.writer("a/large").await?;
            writer.put(noise(30 << 20)).await?;
            writer.finish().await
        };
        let error = stored.await.unwrap_err();
        assert_eq!(error.code(), code, "{operation:?}");
        let text = error.to_string();
        assert!(text.contains("`local`") && text.contains("`a/"), "{text}");
        assert!(error.help().is_some_and(|help| help.contains("`local`")));
        assert_eq!(Target::from_store(name(), inner).head("a/large").await.unwrap(), None);
    }
}

#[tokio::test]
async fn an_object_that_lacks_a_part_is_never_finished() {
    let store = Faulty::new(Arc::new(Memory::new())).once(Operation::Part, "", 2, Fault::Fails);
    let target = Target::from_store(name(), Arc::new(store));
    let mut writer = target.writer("x").await.unwrap();
    let mut failed = 0;
    for _ in 0..6 {
        failed += usize::from(writer.put(noise(8 << 20)).await.is_err());
    }
    assert_eq!(failed, 1);
    assert!(writer.finish().await.is_err());
    assert_eq!(target.head("x").await.unwrap(), None);
}

#[tokio::test]
async fn only_the_nth_operation_fails() {
    let store = Faulty::new(Arc::new(Memory::new())).once(Operation::Put, "", 3, Fault::Fails);
    let target = Target::from_store(name(), Arc::new(store));
    let mut failed = Vec::new();
    for object in ["1", "2", "3", "4"] {
        if target.create(object, small()).await.is_err() {
            failed.push(object);
        }
    }
    assert_eq!(failed, ["3"]);
}

#[tokio::test]
async fn a_store_that_cuts_is_found_out_and_one_that_flips_gives_other_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let content = noise(3_000_000);
    open("file:t", folder.path())
        .create("x", content.clone())
        .await
        .unwrap();
    let lying = |fault| {
        let store = Faulty::new(Arc::new(Local::new(folder.path().join("t")))).always(Operation::Get, "", fault);
        Target::from_store(name(), Arc::new(store))
    };
    for keep in [0, 1, 1_048_576, 2_999_999] {
        let cut = lying(Fault::Cuts(keep)).read("x", 3_000_000).await;
        assert!(matches!(cut, Err(TargetError::WrongLength { .. })), "{keep}");
        assert_eq!(cut.unwrap_err().code(), Code::Damaged);
    }
    let pieces: Vec<Bytes> = lying(Fault::Flips(2_000_000))
        .stream("x", Some(1_000_000..3_000_000))
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let found = pieces.concat();
    let differing: Vec<usize> = (0..found.len())
        .filter(|at| found[*at] != content[1_000_000 + at])
        .collect();
    assert_eq!(differing, [1_000_000]);
}

#[tokio::test]
async fn a_store_that_drops_a_write_says_that_it_wrote() {
    let store = Faulty::new(Arc::new(Memory::new())).once(Operation::Complete, "", 1, Fault::Drops);
    let target = Target::from_store(name(), Arc::new(store));
    let mut writer = target.writer("x").await.unwrap();
    writer.put(small()).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(target.head("x").await.unwrap(), None);
}

#[tokio::test]
async fn parts_have_one_size_and_calls_are_remembered_in_order() {
    let recording = Recording::new(Arc::new(Memory::new()));
    let calls = recording.calls();
    let target = Target::from_store(name(), Arc::new(recording));
    let mut writer = target.writer("archives/x").await.unwrap();
    for _ in 0..9 {
        writer.put(noise(2_000_000)).await.unwrap();
    }
    writer.finish().await.unwrap();
    target.create("backups/x", small()).await.unwrap();
    let parts: Vec<u64> = calls
        .all()
        .iter()
        .filter(|c| c.operation == Operation::Part)
        .map(|c| c.bytes)
        .collect();
    assert_eq!(parts, [8 << 20, 8 << 20, 18_000_000 - (16 << 20)]);
    let order: Vec<Operation> = calls.all().iter().map(|call| call.operation).collect();
    let part = Operation::Part;
    assert_eq!(
        order,
        [Operation::Begin, part, part, part, Operation::Complete, Operation::Put]
    );
    assert_eq!(calls.objects(Operation::Put), ["backups/x"]);
    assert_eq!(calls.count(part), 3);
}
