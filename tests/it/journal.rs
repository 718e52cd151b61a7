//! The journal: its format by hand, what tampering it finds, what a crash leaves, several writers.

use std::fmt::Write as _;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use strongroom::clock::FixedClock;
use strongroom::diagnostic::{Code, Diagnose};
use strongroom::id::RunId;
use strongroom::journal::{
    Entry, Event, Field, Filter, Journal, JournalError, ProblemKind, Recovered, Setup, Status, Sync, Verification,
    read, verify,
};
use strongroom::state::StateFolder;

struct Log {
    _above: tempfile::TempDir,
    folder: StateFolder,
    clock: Arc<FixedClock>,
    segment_bytes: u64,
}

impl Log {
    fn new() -> Self {
        let above = tempfile::tempdir().unwrap();
        Self {
            folder: StateFolder::open(&above.path().join("dev")).unwrap(),
            _above: above,
            clock: Arc::new(FixedClock::at("2026-11-21T21:51:00.123456789Z".parse().unwrap())),
            segment_bytes: 16 << 20,
        }
    }

    /// A log of several segments with `records` records and more.
    fn with(records: usize, segment_bytes: u64) -> Self {
        let log = Self {
            segment_bytes,
            ..Self::new()
        };
        let mut journal = log.open();
        for number in 0..records {
            journal.append(&step(number), Sync::Grouped).unwrap();
        }
        journal
            .append(&Entry::new(Event::RunFinished).status(Status::Ok), Sync::Now)
            .unwrap();
        drop(journal);
        log
    }

    fn setup(&self) -> Setup {
        Setup {
            clock: self.clock.clone(),
            segment_bytes: self.segment_bytes,
            ..Setup::new(Arc::new(|text| text.replace("hunter2", "[REDACTED]")))
        }
    }

    fn try_open(&self) -> Result<(Journal, Option<Recovered>), JournalError> {
        let (journal, recovered) = Journal::open(&self.folder, self.setup())?;
        let run = RunId::new(1_795_000_000_000, [7; 10]);
        Ok((
            journal.with_run(run, "operator", &"dev".parse().unwrap(), &"backup".parse().unwrap()),
            recovered,
        ))
    }

    fn open(&self) -> Journal {
        self.try_open().unwrap().0
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn segment(&self) -> PathBuf {
        self.path("journal-000001.jsonl")
    }

    fn verify(&self) -> Verification {
        verify(&self.folder).unwrap()
    }

    fn events(&self) -> Vec<String> {
        let records = read(&self.folder, Filter::default()).unwrap();
        records
            .map(|record| record.unwrap().text("event").unwrap().to_owned())
            .collect()
    }

    fn append_bytes(&self, bytes: &[u8]) {
        let mut file = std::fs::File::options().append(true).open(self.segment()).unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
    }
}

fn step(number: usize) -> Entry {
    Entry::new(Event::StepFinished)
        .status(Status::Ok)
        .with(Field::Count, number)
}

/// Every file of the journal's with its content.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}

#[test]
fn a_record_has_its_keys_in_order_and_prev_last() {
    let log = Log::new();
    let mut journal = log.open();
    let entry = Entry::new(Event::BackupStored)
        .step(&"store".parse().unwrap())
        .status(Status::Ok)
        .with(Field::Backup, "20261121T215100Z-9c41")
        .with(Field::StoredBytes, 12_345_u64);
    journal.append(&entry, Sync::Now).unwrap();
    let text = std::fs::read_to_string(log.segment()).unwrap();
    let line = text.lines().nth(1).unwrap();
    let (_, prev) = line.rsplit_once("\"prev\":\"").unwrap();
    let run = RunId::new(1_795_000_000_000, [7; 10]);
    let expected = format!(
        "{{\"v\":1,\"seq\":1,\"ts\":\"2026-11-21T21:51:00.123456Z\",\"event\":\"backup_stored\",\"run\":\"{run}\",\
         \"correlation_id\":\"{run}\",\"actor\":\"operator\",\"env\":\"dev\",\"pipeline\":\"backup\",\"step\":\"store\",\
         \"status\":\"ok\",\"backup\":\"20261121T215100Z-9c41\",\"stored_bytes\":12345,\"prev\":\"{prev}"
    );
    assert_eq!(line, expected);
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(first["event"], "log_started");
    assert_eq!(first["run"], Value::Null);
    assert!(first["origin"].as_str().unwrap().starts_with("strongroom/"));
}

#[test]
fn the_chain_can_be_followed_by_sha256sum_alone() {
    let log = Log::with(20, 1500);
    let script = r#"
        prev=
        seen=0
        for file in "$1"/journal-*.jsonl; do
            while IFS= read -r line; do
                said=${line##*\"prev\":\"}
                said=${said%\"\}}
                if [ -z "$prev" ]; then
                    origin=${line#*\"origin\":\"}
                    prev=$(printf '\0%s' "${origin%%\"*}" | sha256sum | cut -d' ' -f1)
                fi
                [ "$said" = "$prev" ] || { echo "line $seen of $file: $said is not $prev"; exit 1; }
                prev=$(printf '\0%s' "$line" | sha256sum | cut -d' ' -f1)
                seen=$((seen + 1))
            done < "$file"
        done
        echo "$seen $prev"
    "#;
    let output = Command::new("bash")
        .arg("-c")
        .arg(script)
        .arg("by-hand")
        .arg(log.folder.path())
        .output();
    let output = output.expect("bash is missing: apt-get install -y bash coreutils");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let verified = log.verify();
    assert!(verified.segments > 3, "{verified:?}");
    assert_eq!(said.trim(), format!("{} {}", verified.records, verified.head.unwrap()));
}

#[test]
fn what_the_caller_says_is_scrubbed_wherever_it_stands() {
    let log = Log::new();
    let entry = Entry::new(Event::Warned)
        .with(Field::Message, "password hunter2\nsecond line")
        .with(Field::Options, json!({ "hunter2": ["a", { "b": "hunter2" }], "n": 1 }));
    let (journal, _) = Journal::open(&log.folder, log.setup()).unwrap();
    let mut journal = journal.with_run(
        RunId::new(1, [0; 10]),
        "hunter2",
        &"dev".parse().unwrap(),
        &"backup".parse().unwrap(),
    );
    journal.append(&entry, Sync::Now).unwrap();
    let text = std::fs::read_to_string(log.segment()).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    assert_eq!(text.matches("[REDACTED]").count(), 4);
    assert_eq!(text.lines().count(), 2);
}

#[test]
fn a_record_too_long_for_a_line_says_what_it_leaves_out() {
    let log = Log::new();
    let mut journal = log.open();
    let many: Vec<String> = (0..1000).map(|_| "x".repeat(3000)).collect();
    journal
        .append(
            &Entry::new(Event::Warned)
                .with(Field::Objects, many)
                .with(Field::Count, 1000),
            Sync::Now,
        )
        .unwrap();
    let record = read(&log.folder, Filter::default()).unwrap().last().unwrap().unwrap();
    assert!(record.line.len() < 64 << 10);
    assert!(record.text("objects").unwrap().ends_with("bytes left out)"));
    assert_eq!(record.fields["count"], 1000);
}

#[test]
fn a_log_goes_on_over_runs_and_segments() {
    let log = Log::with(30, 2000);
    let before = log.verify();
    assert!(before.is_good() && before.segments > 5, "{before:?}");
    log.open().append(&step(0), Sync::Now).unwrap();
    let after = log.verify();
    assert!(after.is_good(), "{after:?}");
    assert!(after.records > before.records && after.origin == before.origin && after.root != before.root);
    let sequence: Vec<u64> = read(&log.folder, Filter::default())
        .unwrap()
        .map(|record| record.unwrap().seq)
        .collect();
    assert_eq!(sequence, (0..after.records).collect::<Vec<_>>());
    let first: Vec<String> = log
        .events()
        .into_iter()
        .filter(|event| event.starts_with("segment"))
        .collect();
    assert!(
        first.chunks(2).all(|pair| pair == ["segment_end", "segment_start"]),
        "{first:?}"
    );
}

#[test]
fn records_are_filtered() {
    let log = Log::with(3, 1 << 20);
    let count = |filter: Filter| read(&log.folder, filter).unwrap().count();
    let run = RunId::new(1_795_000_000_000, [7; 10]).to_string();
    let event = |event: &str| Filter {
        event: Some(event.into()),
        ..Filter::default()
    };
    assert_eq!(count(Filter::default()), 5);
    assert_eq!(count(event("step_finished")), 3);
    assert_eq!(count(event("nothing")), 0);
    let of_run = |run: &str| Filter {
        run: Some(run.into()),
        ..Filter::default()
    };
    assert_eq!(count(of_run(&run[..8])), 4);
    assert_eq!(count(of_run("ffff")), 0);
    let since = Filter {
        since: Some("2026-11-22T00:00:00Z".parse().unwrap()),
        ..Filter::default()
    };
    assert_eq!(count(since), 0);
}

#[test]
fn several_writers_take_turns() {
    let log = Log {
        segment_bytes: 4000,
        ..Log::new()
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut journal = log.open();
                for number in 0..25 {
                    let sync = if number % 5 == 0 { Sync::Now } else { Sync::Grouped };
                    journal.append(&step(number), sync).unwrap();
                }
                journal.sync().unwrap();
            });
        }
    });
    let verified = log.verify();
    assert!(verified.is_good(), "{verified:?}");
    assert_eq!(
        log.events().iter().filter(|event| *event == "step_finished").count(),
        100
    );
    assert_eq!(verified.beyond_head, 0);
}

#[test]
fn an_unfinished_last_line_is_moved_aside_and_recorded() {
    let cuts: [&[u8]; 5] = [
        b"{\"v\":1,\"seq\":4,\"ts\":\"2026",
        b"\0\0\0\0\0\0",
        b"{\"v\":1}\n",
        b"\n",
        b"\xff\xfe",
    ];
    for torn in cuts {
        let log = Log::with(2, 1 << 20);
        let good = std::fs::read(log.segment()).unwrap();
        log.append_bytes(torn);
        let kinds: Vec<ProblemKind> = log.verify().problems.iter().map(|problem| problem.kind).collect();
        assert_eq!(kinds, [ProblemKind::Unfinished], "{torn:?}");
        let (mut journal, recovered) = log.try_open().unwrap();
        let recovered = recovered.unwrap();
        assert_eq!(std::fs::read(log.path(&recovered.file)).unwrap(), torn);
        assert_eq!(recovered.length, torn.len() as u64);
        journal.append(&step(1), Sync::Now).unwrap();
        assert!(std::fs::read(log.segment()).unwrap().starts_with(&good));
        assert!(log.verify().is_good(), "{:?}", log.verify());
        assert_eq!(log.events()[4..], ["recovered", "step_finished"]);
        drop(journal);
        assert_eq!(log.try_open().unwrap().1, None);
        std::fs::write(log.path(&recovered.file), b"changed").unwrap();
        assert_eq!(log.verify().problems[0].kind, ProblemKind::MovedAside);
    }
}

#[test]
fn a_last_line_that_lacks_only_its_end_is_kept() {
    let log = Log::with(2, 1 << 20);
    let whole = std::fs::read(log.segment()).unwrap();
    std::fs::write(log.segment(), &whole[..whole.len() - 1]).unwrap();
    assert!(!log.verify().is_good());
    let (_journal, recovered) = log.try_open().unwrap();
    assert_eq!(recovered, None);
    assert_eq!(std::fs::read(log.segment()).unwrap(), whole);
    assert!(log.verify().is_good());
}

/// A crash may come between any two bytes: the log cut anywhere within its last, not yet synced line goes on.
#[test]
fn a_log_cut_anywhere_in_its_last_line_goes_on() {
    let log = Log::with(1, 1 << 20);
    let head = std::fs::read(log.path("journal.head")).unwrap();
    let synced = std::fs::read(log.segment()).unwrap();
    log.open().append(&step(7), Sync::Now).unwrap();
    let whole = std::fs::read(log.segment()).unwrap();
    for length in synced.len()..=whole.len() {
        std::fs::write(log.segment(), &whole[..length]).unwrap();
        std::fs::write(log.path("journal.head"), &head).unwrap();
        let (mut journal, recovered) = log.try_open().unwrap();
        let untouched = length == synced.len() || length + 1 >= whole.len();
        assert_eq!(recovered.is_none(), untouched, "{length}");
        journal.append(&step(8), Sync::Now).unwrap();
        drop(journal);
        assert!(log.verify().is_good(), "{length}: {:?}", log.verify());
        for (path, _) in content(log.folder.path()) {
            if path.to_string_lossy().contains(".torn-") {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}

#[test]
fn a_crash_between_moving_aside_and_recording_is_made_good() {
    let log = Log::with(2, 1 << 20);
    std::fs::write(log.path("journal-000001.torn-20261121T000000.000000Z"), b"{\"v\":1,").unwrap();
    let (_journal, recovered) = log.try_open().unwrap();
    assert_eq!(recovered.unwrap().length, 7);
    assert!(log.verify().is_good());
}

#[test]
fn a_crash_anywhere_in_a_rotation_is_made_good() {
    let log = Log::with(8, 1500);
    let files: Vec<(PathBuf, Vec<u8>)> = content(log.folder.path())
        .into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    let (second, second_content) = &files[1];
    let start = second_content.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for later in &files[2..] {
        std::fs::remove_file(&later.0).unwrap();
    }
    // The head as it was when the first segment had been closed and synced.
    let lines = files[0].1.split(|byte| *byte == b'\n').count() - 1;
    let last: Value = serde_json::from_slice(second_content.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    let head = format!("{lines:020} {}\n", last["prev"].as_str().unwrap());
    for length in (0..=start).map(Some).chain([None]) {
        match length {
            Some(length) => std::fs::write(second, &second_content[..length]).unwrap(),
            None => std::fs::remove_file(second).unwrap(),
        }
        std::fs::write(log.path("journal.head"), &head).unwrap();
        log.open().append(&step(1), Sync::Now).unwrap();
        assert!(log.verify().is_good(), "{length:?}: {:?}", log.verify());
        for (path, _) in content(log.folder.path()) {
            if path.to_string_lossy().contains(".torn-") {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}

#[test]
fn a_broken_journal_is_not_written_to_and_ends_with_4() {
    let log = Log::with(5, 1 << 20);
    let text = std::fs::read_to_string(log.segment()).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.remove(3);
    let mut cut = lines.join("\n");
    cut.push('\n');
    std::fs::write(log.segment(), &cut).unwrap();
    let error = log.try_open().unwrap_err();
    assert_eq!(error.code(), Code::JournalBroken);
    assert_eq!(error.code().exit().number(), 4);
    assert!(error.to_string().contains("line 4"), "{error}");
    assert_eq!(std::fs::read_to_string(log.segment()).unwrap(), cut);
}

#[test]
fn a_journal_cut_at_a_line_end_or_taken_away_is_found_when_it_is_opened() {
    let log = Log::with(5, 1 << 20);
    let whole = std::fs::read(log.segment()).unwrap();
    let end = whole[..whole.len() - 1]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .unwrap()
        + 1;
    std::fs::write(log.segment(), &whole[..end]).unwrap();
    assert!(matches!(log.try_open(), Err(JournalError::Broken { .. })));
    std::fs::write(log.segment(), b"").unwrap();
    assert!(matches!(log.try_open(), Err(JournalError::Broken { .. })));
    std::fs::remove_file(log.segment()).unwrap();
    assert!(matches!(log.try_open(), Err(JournalError::Broken { .. })));
    assert!(!log.verify().is_good());
}

#[test]
fn a_time_that_runs_back_is_told() {
    let log = Log::with(1, 1 << 20);
    log.clock.set("2026-11-21T21:47:00Z".parse().unwrap());
    log.open().append(&step(1), Sync::Now).unwrap();
    assert!(log.verify().is_good());
    log.clock.set("2026-11-21T21:45:00Z".parse().unwrap());
    log.open().append(&step(2), Sync::Now).unwrap();
    let kinds: Vec<ProblemKind> = log.verify().problems.iter().map(|problem| problem.kind).collect();
    assert_eq!(kinds, [ProblemKind::Time]);
}

#[test]
fn files_of_the_journal_are_for_the_owner_alone() {
    let log = Log::with(30, 2000);
    log.append_bytes(b"");
    for (path, _) in content(log.folder.path()) {
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "{path:?}");
    }
}

#[test]
fn a_log_that_is_not_there_is_empty_and_looking_makes_nothing() {
    let log = Log::new();
    let verified = log.verify();
    assert!(verified.is_good() && verified.records == 0 && verified.origin.is_none());
    assert_eq!(read(&log.folder, Filter::default()).unwrap().count(), 0);
    assert!(content(log.folder.path()).is_empty());
}

/// A log in three segments, made once: files by path, in the order of the log.
fn sample() -> (Log, Vec<(PathBuf, Vec<u8>)>) {
    let log = Log::with(8, 1500);
    let files = content(log.folder.path())
        .into_iter()
        .filter(|(path, _)| {
            path.extension()
                .is_some_and(|extension| extension == "jsonl" || extension == "head")
        })
        .collect();
    (log, files)
}

#[test]
fn every_single_changed_byte_is_found() {
    let (log, files) = sample();
    assert!(log.verify().is_good() && files.len() >= 4);
    // At full size every bit; else one bit of each byte, another one each time.
    let all = std::env::var_os("STRONGROOM_TORTURE").is_some();
    for (path, bytes) in &files {
        // In place: a file that is cut and written anew is written through to the disk each time.
        let file = std::fs::File::options().write(true).open(path).unwrap();
        for (at, byte) in (0_u64..).zip(bytes) {
            let bits = if all { 0..8 } else { at % 8..at % 8 + 1 };
            for bit in bits {
                file.write_all_at(&[byte ^ (1 << bit)], at).unwrap();
                assert!(!log.verify().is_good(), "byte {at}, bit {bit} of {}", path.display());
            }
            file.write_all_at(&[*byte], at).unwrap();
        }
    }
    assert!(log.verify().is_good());
}

#[test]
fn every_removed_doubled_or_swapped_line_is_found() {
    let (log, files) = sample();
    for (path, bytes) in files.iter().filter(|(path, _)| !path.ends_with("journal.head")) {
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let bent = |lines: &[&[u8]], what: &str| {
            std::fs::write(path, lines.concat()).unwrap();
            assert!(!log.verify().is_good(), "{what} in {}", path.display());
        };
        for at in 0..lines.len() {
            let mut removed = lines.clone();
            removed.remove(at);
            bent(&removed, &format!("line {at} removed"));
            let mut doubled = lines.clone();
            doubled.insert(at, lines[at]);
            bent(&doubled, &format!("line {at} doubled"));
            for other in at + 1..lines.len() {
                let mut swapped = lines.clone();
                swapped.swap(at, other);
                bent(&swapped, &format!("lines {at} and {other} swapped"));
            }
        }
        std::fs::write(path, bytes).unwrap();
        std::fs::remove_file(path).unwrap();
        assert!(!log.verify().is_good(), "{} removed", path.display());
        std::fs::write(path, bytes).unwrap();
    }
    assert!(log.verify().is_good());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is cut out of a log, put in or overwritten is found, wherever and however long.
    #[test]
    fn any_edit_is_found(at in 0.0..1.0_f64, removed in 0_usize..600, put in proptest::collection::vec(any::<u8>(), 0..40)) {
        let (log, files) = sample();
        let whole: Vec<u8> = files.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
        let mut place = (at * whole.len() as f64) as usize;
        for (path, bytes) in &files {
            if place >= bytes.len() {
                place -= bytes.len();
                continue;
            }
            let end = (place + removed).min(bytes.len());
            let mut bent = bytes.clone();
            bent.splice(place..end, put.iter().copied());
            prop_assume!(bent != *bytes);
            std::fs::write(path, &bent).unwrap();
            let mut text = String::new();
            for problem in log.verify().problems {
                writeln!(text, "{problem:?}").unwrap();
            }
            prop_assert!(!text.is_empty(), "{}: {place}..{end}", path.display());
            break;
        }
    }
}
