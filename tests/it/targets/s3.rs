//! S3 beyond what every target promises: what goes wrong on the way to a store, and what a store says.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::TryStreamExt;
use strongroom::diagnostic::{Code, Diagnose, Diagnostic};
use strongroom::secret::Secret;
use strongroom::target::ledger::Ledger;
use strongroom::target::{Access, Created, Keeps, Target, TargetError, TargetSettings};

use super::noise;
use crate::proxy::{Fate, Proxy};
use crate::weed::{BUCKET, Weed, random};

fn open(settings: &TargetSettings, access: &Access) -> Target {
    Target::open("offsite".parse().unwrap(), settings, Path::new("/"), access).unwrap()
}

/// Settings that give up soon: where something is to fail and nothing to succeed.
fn hasty(endpoint: &str, prefix: &str) -> TargetSettings {
    TargetSettings {
        timeout: Some("1s".parse().unwrap()),
        retry_for: Some("2s".parse().unwrap()),
        ..Weed::settings(endpoint, prefix)
    }
}

async fn written(target: &Target, object: &str, content: &Bytes) -> Result<(), TargetError> {
    let mut writer = target.writer(object).await?;
    for piece in content.chunks(1 << 20) {
        writer.put(Bytes::copy_from_slice(piece)).await?;
    }
    writer.finish().await
}

async fn whole(target: &Target, object: &str) -> Bytes {
    let pieces: Vec<Bytes> = target.stream(object, None).await.unwrap().try_collect().await.unwrap();
    pieces.concat().into()
}

/// What the operator is told, in one text, and whether it has all that it must.
fn told(error: &TargetError) -> String {
    let diagnostic = Diagnostic::of(error);
    assert_eq!(
        (diagnostic.code, diagnostic.code.exit().number()),
        (Code::TargetFailed, 1)
    );
    let (why, help) = (diagnostic.why.unwrap(), diagnostic.help.unwrap());
    format!("{} | {why} | {help}", diagnostic.what)
}

#[tokio::test]
async fn a_wrong_key_a_wrong_secret_and_a_missing_bucket_are_told_apart() {
    let server = Weed::start();
    let settings = Weed::settings(&server.endpoint(), "x");
    let mut access = server.access();
    access.access_key_id = Some(Secret::new(random(20)));
    for error in [
        open(&settings, &access).head("a").await.unwrap_err(),
        open(&settings, &access).list("").await.unwrap_err(),
        open(&settings, &access).create("a", Bytes::new()).await.unwrap_err(),
        open(&settings, &access).read("a", 10).await.unwrap_err(),
    ] {
        let text = told(&error);
        assert!(
            text.starts_with("target `offsite` does not know the access key | "),
            "{text}"
        );
        assert!(
            text.contains("InvalidAccessKeyId") && text.contains("access-key-id"),
            "{text}"
        );
    }
    let mut access = server.access();
    let secret = random(40);
    access.secret_access_key = Some(Secret::new(secret.clone()));
    let error = open(&settings, &access).head("a").await.unwrap_err();
    let text = told(&error);
    assert!(
        text.contains("the secret access key is wrong") && text.contains("SignatureDoesNotMatch"),
        "{text}"
    );
    for kept in [&secret, &server.id, &server.key] {
        assert!(!format!("{text} {error:?}").contains(kept.as_str()), "{text}");
    }
    let elsewhere = TargetSettings {
        url: "s3://no-such-bucket/x".into(),
        ..settings
    };
    let target = open(&elsewhere, &server.access());
    for error in [
        target.list("").await.unwrap_err(),
        target.create("a", Bytes::new()).await.unwrap_err(),
    ] {
        let text = told(&error);
        assert!(
            text.starts_with("the bucket of target `offsite` does not exist | "),
            "{text}"
        );
        assert!(text.contains("creates no bucket") && error.is_gone(), "{text}");
    }
}

#[tokio::test]
async fn what_a_store_says_is_told_with_what_to_do() {
    let server = Weed::start();
    let proxy = Proxy::before(server.address());
    let target = open(&hasty(&proxy.endpoint(), "x"), &server.access());
    for (status, code, what, help) in [
        (
            403,
            "RequestTimeTooSkewed",
            "the clocks of this host and of target `offsite` differ",
            "timedatectl",
        ),
        (
            403,
            "AccessDenied",
            "target `offsite` refuses access to `a`",
            "docs/DATA_MANAGEMENT.md",
        ),
        (
            400,
            "ExpiredToken",
            "target `offsite` refuses the session token",
            "temporary key",
        ),
        (301, "PermanentRedirect", "lies in another region", "`region`"),
        (
            503,
            "SlowDown",
            "target `offsite` has too much to do",
            "run again later",
        ),
        (418, "Teapot", "target `offsite` failed at `a`", "run again"),
    ] {
        proxy.heal();
        let body = format!("<Error><Code>{code}</Code><Message>said</Message><StringToSign>x</StringToSign></Error>");
        proxy.befall(0, usize::MAX, Fate::Answer(status, body), |_| true);
        let text = told(&target.create("a", Bytes::new()).await.unwrap_err());
        assert!(text.contains(what) && text.contains(help), "{text}");
        assert!(
            text.contains(&format!("{status} {code}: said |")) && !text.contains("StringToSign"),
            "{text}"
        );
    }
    proxy.heal();
    proxy.befall(0, usize::MAX, Fate::Answer(507, String::new()), |_| true);
    let error = target.create("a", Bytes::new()).await.unwrap_err();
    assert_eq!(error.code(), Code::DiskFull);
}

#[tokio::test]
async fn a_session_token_is_sent_and_a_value_that_no_header_can_hold_is_refused() {
    let server = Weed::start();
    let proxy = Proxy::before(server.address());
    let invalid = Fate::Answer(400, "<Error><Code>InvalidToken</Code></Error>".into());
    proxy.befall(0, usize::MAX, invalid, |request| {
        request.has_header("x-amz-security-token")
    });
    let settings = Weed::settings(&proxy.endpoint(), "x");
    open(&settings, &server.access()).list("").await.unwrap();
    let with = |token: &str| Access {
        session_token: Some(Secret::new(token.to_owned())),
        ..server.access()
    };
    let text = told(&open(&settings, &with(&random(60))).list("").await.unwrap_err());
    assert!(text.starts_with("target `offsite` refuses the session token"), "{text}");
    for wrong in ["two words", "line\n", "d\u{e9}j\u{e0}"] {
        let opened = Target::open("offsite".parse().unwrap(), &settings, Path::new("/"), &with(wrong));
        let text = format!("{opened:?}");
        assert!(text.contains("session-token") && !text.contains(wrong.trim()), "{text}");
    }
}

#[tokio::test]
async fn a_store_that_is_not_there_or_does_not_answer_is_told_so() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let server = Weed::start();
    let target = open(&hasty(&format!("http://{closed}"), "x"), &server.access());
    let text = told(&target.list("").await.unwrap_err());
    assert!(
        text.starts_with("target `offsite` cannot be reached | Connection refused"),
        "{text}"
    );
    let proxy = Proxy::before(server.address());
    proxy.befall(0, usize::MAX, Fate::Stall, |_| true);
    let target = open(&hasty(&proxy.endpoint(), "x"), &server.access());
    for error in [
        target.list("").await.unwrap_err(),
        target.create("a", Bytes::new()).await.unwrap_err(),
    ] {
        let text = told(&error);
        assert!(
            text.starts_with("target `offsite` does not answer | no answer within 1.0 s | "),
            "{text}"
        );
        assert!(text.contains("`timeout`"), "{text}");
    }
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused_until_it_is_named() {
    let server = Weed::with_tls();
    let endpoint = format!("https://127.0.0.1:{}", server.tls_port());
    let settings = TargetSettings {
        allow_http: None,
        ..Weed::settings(&endpoint, "x")
    };
    let text = told(&open(&settings, &server.access()).list("").await.unwrap_err());
    assert!(
        text.starts_with("no safe connection to target `offsite` can be made | invalid peer certificate"),
        "{text}"
    );
    assert!(text.contains("`ca-file`"), "{text}");
    let access = Access {
        certificates: Some(std::fs::read(server.ca_file()).unwrap()),
        ..server.access()
    };
    let target = open(&settings, &access);
    assert_eq!(
        target.create("a", Bytes::from_static(b"safe")).await.unwrap(),
        Created::New
    );
    assert_eq!(target.read("a", 10).await.unwrap(), "safe");
    // A port that speaks no TLS is no safe connection either.
    let settings = TargetSettings {
        allow_http: None,
        ..Weed::settings(&format!("https://{}", server.address()), "x")
    };
    let text = told(&open(&settings, &access).list("").await.unwrap_err());
    assert!(text.starts_with("no safe connection to target `offsite`"), "{text}");
    let garbage = Access {
        certificates: Some(b"no certificate".to_vec()),
        ..server.access()
    };
    let opened = Target::open("offsite".parse().unwrap(), &settings, Path::new("/"), &garbage);
    assert!(
        matches!(opened, Err(TargetError::BadSetting { key: "ca-file", .. })),
        "{opened:?}"
    );
}

#[tokio::test]
async fn a_store_too_busy_for_a_moment_is_asked_again() {
    let server = Weed::start();
    let proxy = Proxy::before(server.address());
    let target = open(&Weed::settings(&proxy.endpoint(), "x"), &server.access());
    let busy = || Fate::Answer(503, "<Error><Code>SlowDown</Code></Error>".into());
    let content = noise(20 << 20);
    for fate in [busy(), Fate::Answer(500, String::new()), Fate::Refuse] {
        proxy.befall(0, 1, fate.clone(), |request| request.method == "PUT");
        proxy.befall(0, 1, fate.clone(), |request| request.method == "POST");
        proxy.befall(0, 1, fate, |request| request.method == "GET");
        written(&target, "a", &content).await.unwrap();
        assert!(whole(&target, "a").await == content);
        target.delete("a").await.unwrap();
    }
    assert_eq!(server.unfinished("x/"), Vec::<String>::new());
}

#[tokio::test]
async fn a_put_whose_answer_is_lost_was_done_once_and_is_known_to_be_ours() {
    let server = Weed::start();
    let proxy = Proxy::before(server.address());
    let target = open(&Weed::settings(&proxy.endpoint(), "x"), &server.access());
    proxy.befall(0, 1, Fate::LoseAnswer, |request| request.method == "PUT");
    let ours = Bytes::from_static(b"ours");
    assert_eq!(target.create("record", ours.clone()).await.unwrap(), Created::New);
    assert_eq!(target.read("record", 10).await.unwrap(), "ours");
    // What another one put there meanwhile is not.
    let other = target.create("record", Bytes::from_static(b"theirs")).await.unwrap();
    assert_eq!(other, Created::Existed);
    let content = noise(20 << 20);
    proxy.befall(0, 1, Fate::LoseAnswer, |request| {
        request.method == "POST" && request.path.contains("uploadId")
    });
    written(&target, "archive", &content).await.unwrap();
    assert!(whole(&target, "archive").await == content);
    let again = written(&target, "archive", &noise(21 << 20)).await;
    assert!(matches!(again, Err(TargetError::Existed { .. })), "{again:?}");
    assert!(whole(&target, "archive").await == content);
}

#[tokio::test]
async fn the_end_of_a_streamed_upload_asks_the_store_itself_to_keep_what_is_there() {
    let server = Weed::start();
    let proxy = Proxy::before(server.address());
    let target = open(&Weed::settings(&proxy.endpoint(), "x"), &server.access());
    let first = noise(9 << 20);
    written(&target, "archive", &first).await.unwrap();
    // The look before it finds nothing, as where another writer comes between.
    proxy.befall(0, usize::MAX, Fate::Answer(404, String::new()), |request| {
        request.method == "HEAD"
    });
    let second = written(&target, "archive", &noise(10 << 20)).await;
    assert!(matches!(second, Err(TargetError::Existed { .. })), "{second:?}");
    assert!(whole(&target, "archive").await == first);
}

#[tokio::test]
async fn an_object_cut_or_stalled_in_the_middle_is_read_to_its_end() {
    let server = Weed::start();
    let proxy = Proxy::before(server.address());
    let steady = TargetSettings {
        timeout: Some("4s".parse().unwrap()),
        ..Weed::settings(&proxy.endpoint(), "x")
    };
    let target = open(&steady, &server.access());
    let content = noise(12_345_678);
    written(&target, "archive", &content).await.unwrap();
    let reads = |request: &crate::proxy::Request| request.method == "GET" && request.path.contains("archive");
    for fate in [Fate::Cut(3_000_000), Fate::Cut(0), Fate::StallAfter(3_000_000)] {
        proxy.befall(0, 1, fate, reads);
        assert!(whole(&target, "archive").await == content);
        proxy.heal();
    }
    for fate in [Fate::Cut(1000), Fate::StallAfter(1000)] {
        proxy.befall(0, 1, fate, reads);
        let range = target.stream("archive", Some(5_000_000..7_000_000)).await.unwrap();
        let pieces: Vec<Bytes> = range.try_collect().await.unwrap();
        assert!(pieces.concat() == content[5_000_000..7_000_000]);
        proxy.heal();
    }
    proxy.befall(0, usize::MAX, Fate::StallAfter(1000), reads);
    let target = open(&hasty(&proxy.endpoint(), "x"), &server.access());
    let pieces: Result<Vec<Bytes>, _> = target.stream("archive", None).await.unwrap().try_collect().await;
    let text = told(&pieces.unwrap_err());
    assert!(text.starts_with("target `offsite` does not answer"), "{text}");
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_found_out_and_still_not_overwritten() {
    let server = Arc::new(Weed::start());
    let honest = server.target("honest");
    assert_eq!(honest.probe().await.unwrap(), Keeps::Conditions);
    assert!(honest.list("").await.unwrap().is_empty());
    let proxy = Proxy::before(server.address());
    // What is there is removed before a conditional put is passed on, so that the store seems to overwrite it.
    let behind = Arc::clone(&server);
    let act = Arc::new(move |request: &crate::proxy::Request| {
        let object = request.path.split('?').next().unwrap();
        behind.curl("DELETE", object.strip_prefix(&format!("/{BUCKET}")).unwrap());
    });
    proxy.befall(0, usize::MAX, Fate::First(act), |request| {
        request.has_header("if-none-match")
    });
    let target = open(&Weed::settings(&proxy.endpoint(), "careless"), &server.access());
    assert_eq!(target.probe().await.unwrap(), Keeps::Nothing);
    assert!(target.list("").await.unwrap().is_empty());
    let later = open(&Weed::settings(&proxy.endpoint(), "careless"), &server.access());
    later.take_for(Keeps::Nothing);
    for target in [target, later] {
        let object = random(8);
        assert_eq!(
            target.create(&object, Bytes::from_static(b"first")).await.unwrap(),
            Created::New
        );
        let second = target.create(&object, Bytes::from_static(b"second")).await.unwrap();
        assert_eq!(second, Created::Existed);
        let streamed = written(&target, &object, &noise(9 << 20)).await;
        assert!(matches!(streamed, Err(TargetError::Existed { .. })), "{streamed:?}");
        assert_eq!(target.read(&object, 10).await.unwrap(), "first");
    }
    // One that refuses to be asked is treated the same.
    let proxy = Proxy::before(server.address());
    let refuses = Fate::Answer(501, "<Error><Code>NotImplemented</Code></Error>".into());
    proxy.befall(0, usize::MAX, refuses, |request| request.has_header("if-none-match"));
    let target = open(&Weed::settings(&proxy.endpoint(), "plain"), &server.access());
    written(&target, "archive", &noise(9 << 20)).await.unwrap();
    assert_eq!(
        target.create("a", Bytes::from_static(b"first")).await.unwrap(),
        Created::New
    );
    assert_eq!(
        target.create("a", Bytes::from_static(b"second")).await.unwrap(),
        Created::Existed
    );
    assert_eq!(
        open(&Weed::settings(&proxy.endpoint(), "plain"), &server.access())
            .probe()
            .await
            .unwrap(),
        Keeps::Nothing
    );
}

#[tokio::test]
async fn an_upload_that_fails_or_is_given_up_leaves_no_parts() {
    let server = Weed::start();
    let proxy = Proxy::before(server.address());
    let target = open(&Weed::settings(&proxy.endpoint(), "x"), &server.access());
    let mut writer = target.writer("aborted").await.unwrap();
    writer.put(noise(30 << 20)).await.unwrap();
    writer.abort().await.unwrap();
    assert_eq!(server.unfinished("x/"), Vec::<String>::new());
    proxy.befall(2, usize::MAX, Fate::Answer(403, String::new()), |request| {
        request.path.contains("partNumber")
    });
    let failed = written(&target, "failed", &noise(40 << 20)).await;
    assert!(matches!(failed, Err(TargetError::Store { .. })), "{failed:?}");
    proxy.heal();
    assert!(target.list("").await.unwrap().is_empty());
    let begin = std::time::Instant::now();
    while !server.unfinished("x/").is_empty() && begin.elapsed() < Duration::from_secs(30) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.unfinished("x/"), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_dead_run_noted_is_given_up_and_what_others_have_under_way_is_not() {
    let server = Weed::start();
    let state = tempfile::tempdir().unwrap();
    let (ledger, _) = Ledger::begin(state.path()).unwrap();
    let access = Access {
        ledger: Some(Arc::new(ledger)),
        ..server.access()
    };
    let settings = Weed::settings(&server.endpoint(), "x");
    let target = open(&settings, &access);
    let mut dead = target.writer("archives/dead").await.unwrap();
    dead.put(noise(20 << 20)).await.unwrap();
    let mut alive = open(&settings, &server.access())
        .writer("archives/alive")
        .await
        .unwrap();
    alive.put(noise(20 << 20)).await.unwrap();
    let begin = std::time::Instant::now();
    while server.unfinished("x/").len() < 2 && begin.elapsed() < Duration::from_secs(30) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.unfinished("x/"), ["x/archives/alive", "x/archives/dead"]);
    // As a killed process leaves it.
    std::mem::forget(dead);
    let next = server.target("x");
    assert_eq!(next.give_up_stale().await.unwrap(), 0, "both are young");
    assert_eq!(
        next.give_up(&["archives/dead".into(), "archives/none".into()])
            .await
            .unwrap(),
        1
    );
    assert_eq!(server.unfinished("x/"), ["x/archives/alive"]);
    alive.finish().await.unwrap();
    assert_eq!(next.list("").await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_upload_older_than_a_run_is_given_up_by_the_clock_of_the_store() {
    let server = Weed::start();
    let proxy = Proxy::before(server.address());
    let old = |hours: i64| {
        let at = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours);
        format!(
            "<Upload><Key>x%2Farchives%2F{hours}</Key><UploadId>id-{hours}</UploadId><Initiated>{at}</Initiated></Upload>"
        )
    };
    let body = format!(
        "<ListMultipartUploadsResult><EncodingType>url</EncodingType>{}{}</ListMultipartUploadsResult>",
        old(24),
        old(26)
    );
    proxy.befall(0, usize::MAX, Fate::Answer(204, String::new()), |request| {
        request.method == "DELETE"
    });
    let target = open(&Weed::settings(&proxy.endpoint(), "x"), &server.access());
    proxy.befall(0, 1, Fate::Answer(200, body), |request| {
        request.path.contains("uploads=")
    });
    assert_eq!(target.give_up_stale().await.unwrap(), 1);
    let removed: Vec<String> = proxy
        .seen()
        .into_iter()
        .filter(|seen| seen.starts_with("DELETE"))
        .collect();
    assert_eq!(removed, [format!("DELETE /{BUCKET}/x/archives/26?uploadId=id-26")]);
}
