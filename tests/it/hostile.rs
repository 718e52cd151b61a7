//! Archives made to do harm: each is refused by name, and nothing outside the folder given is touched.
//!
//! Whoever can write to a target can make every digest fit, so all of them do here.

use std::path::Path;

use serde_json::{Value, json};
use strongroom::archive::catalog::{Line, read_segment};
use strongroom::archive::keys::Opening;
use strongroom::archive::record::Record;
use strongroom::archive::tar_header;
use strongroom::archive::unpack::{BackupSink, UnpackError, unpack};
use strongroom::codec::frames::compress_whole;
use strongroom::codec::seek_table::{self, FrameLength};
use strongroom::crypto::Digest;
use strongroom::diagnostic::{Code, Diagnose};
use strongroom::event::Events;
use strongroom::fs::entry::Kind;
use strongroom::id::SourceName;
use strongroom::restore::stage::Stage;
use strongroom::restore::writer::{TreeWriter, WriteOptions};
use strongroom::source::{SinkError, TreeSink};
use strongroom::target::Target;

const ID: &str = "20261121T215100Z-9c41";

/// A backup in the making: catalog lines with the data of files.
struct Forgery {
    lines: Vec<(Value, Vec<u8>)>,
    /// Changes the plain archive once it is made.
    plain: fn(&mut Vec<u8>),
    /// Changes the plain text of the catalog once it is made.
    catalog: fn(&mut String),
    /// Changes the record once everything else is made.
    record: fn(&mut Value),
    /// Stored by zstd with this table of frames instead of plain.
    frames: Option<fn(&[u8]) -> Vec<u8>>,
}

fn folder(path: &str) -> (Value, Vec<u8>) {
    (
        json!({ "path": path, "kind": "folder", "mode": "0755", "mtime": [0, 0] }),
        Vec::new(),
    )
}

fn file(path: &str, data: &[u8]) -> (Value, Vec<u8>) {
    let line = json!({ "path": path, "kind": "file", "mode": "0644", "mtime": [0, 0], "size": data.len() });
    (line, data.to_vec())
}

fn other(line: Value) -> (Value, Vec<u8>) {
    (line, Vec::new())
}

impl Forgery {
    fn of(lines: Vec<(Value, Vec<u8>)>) -> Self {
        Self {
            lines,
            plain: |_| {},
            catalog: |_| {},
            record: |_| {},
            frames: None,
        }
    }

    /// Stores it with digests that fit.
    async fn store(self, target: &Target) -> Result<Record, String> {
        let (mut plain, mut text, mut entries, mut bytes) = (Vec::new(), String::new(), 0_u64, 0_u64);
        for (mut line, data) in self.lines {
            if line["kind"] == "file" {
                let set = |line: &mut Value, key: &str, value: Value| {
                    if line.get(key).is_none() {
                        line[key] = value;
                    }
                };
                set(&mut line, "blake3", json!(Digest::of(&data).to_string()));
                // The headers' length does not depend on the place that is filled in here.
                let mut trial = line.clone();
                set(&mut trial, "data", json!(0));
                let length = headers(&trial).map_or(0, |h| h.len());
                set(&mut line, "data", json!(plain.len() + length));
                bytes += line["size"].as_u64().unwrap_or(0);
            }
            if let Some(headers) = headers(&line) {
                plain.extend_from_slice(&headers);
                plain.extend_from_slice(&data);
                plain.resize(plain.len() + tar_header::padding(data.len() as u64), 0);
            }
            entries += 1;
            text.push_str(&line.to_string());
            text.push('\n');
        }
        plain.extend_from_slice(&tar_header::END);
        (self.plain)(&mut plain);
        (self.catalog)(&mut text);
        let (suffix, codec, stored) = match self.frames {
            None => ("tar", "none", plain.clone()),
            Some(frames) => ("tar.zst", "zstd", frames(&plain)),
        };
        let archive = format!("archives/dev/{ID}.{suffix}");
        put(target, &archive, &stored).await;
        let segment = compress_whole(text.as_bytes(), 3).unwrap();
        let segment_name = format!("catalogs/{}.jsonl.zst", Digest::of(&segment));
        put(target, &segment_name, &segment).await;
        let refs = compress_whole(b"", 3).unwrap();
        let refs_name = format!("refs/{}.txt.zst", Digest::of(&refs));
        put(target, &refs_name, &refs).await;
        let mut record = json!({
            "format": 1, "id": ID, "run": "01980000-0000-7000-8000-000000000000", "sequence": 1, "parent": null,
            "environment": "dev", "pipeline": "backup", "instance": "host", "started": "x", "ended": "x",
            "sources": [{ "name": "one", "type": "files", "root": "/x", "entries": entries, "bytes": bytes, "warnings": 0 }],
            "archive": { "name": archive, "codec": codec, "bytes": stored.len(), "plain-bytes": plain.len(),
                "blake3": Digest::of(&stored).to_string() },
            "segments": [{ "name": segment_name, "bytes": segment.len(), "plain-bytes": text.len(),
                "blake3": Digest::of(text.as_bytes()).to_string(), "lines": entries }],
            "refs": { "name": refs_name, "bytes": refs.len(), "blake3": Digest::of(&refs).to_string() },
            "warnings": 0, "manifest": "", "tool": "test",
        });
        (self.record)(&mut record);
        let bytes = serde_json::to_vec(&record).unwrap();
        Record::parse(&bytes, &"dev".parse().unwrap(), &ID.parse().unwrap()).map_err(|error| error.to_string())
    }
}

/// The tar headers of a line; `None` where the line itself is refused.
fn headers(line: &Value) -> Option<Vec<u8>> {
    match read_segment(line.to_string().as_bytes()).next()?.ok()? {
        Line::Entry(listed) => Some(tar_header::render(listed.source.as_str(), &listed.entry)),
        Line::Gone { .. } | Line::Superseded { .. } => None,
    }
}

async fn put(target: &Target, object: &str, bytes: &[u8]) {
    target.create(object, bytes.to_vec().into()).await.unwrap();
}

struct Into(TreeWriter);

impl BackupSink for Into {
    fn source(&mut self, _: &SourceName) -> Result<Option<&mut dyn TreeSink>, SinkError> {
        Ok(Some(&mut self.0))
    }
}

/// Stores the forgery and restores it into `to`: the code of what went wrong.
async fn restore(forgery: Forgery, to: &Path) -> Result<(), String> {
    let target = Target::memory("memory".parse().unwrap());
    let record = forgery.store(&target).await?;
    let stage = Stage::inside(to, &"one".parse().unwrap()).unwrap();
    let writer = TreeWriter::new(stage.root().unwrap(), WriteOptions::default()).unwrap();
    let code = |error: UnpackError| error.code().as_str().to_owned();
    let (_, Into(writer)) = unpack(&target, &record, &Opening::Plain, &Events::none(), Into(writer))
        .await
        .map_err(code)?;
    writer.finish().map_err(|error| error.code().as_str().to_owned())?;
    stage.keep();
    Ok(())
}

/// One frame a MiB, with a table that is made by `lie` from the true lengths.
fn framed(plain: &[u8], lie: fn(&mut Vec<FrameLength>)) -> Vec<u8> {
    let (mut stored, mut lengths) = (Vec::new(), Vec::new());
    for piece in plain.chunks(1 << 20) {
        let frame = compress_whole(piece, 3).unwrap();
        lengths.push(FrameLength {
            stored: frame.len() as u32,
            plain: piece.len() as u32,
        });
        stored.extend_from_slice(&frame);
    }
    lie(&mut lengths);
    stored.extend_from_slice(&seek_table::write(&lengths).unwrap());
    stored
}

fn flip_first(plain: &mut [u8], needle: &[u8], with: &[u8]) {
    let at = plain.windows(needle.len()).position(|w| w == needle).unwrap();
    plain[at..at + with.len()].copy_from_slice(with);
}

/// What is tried, by name.
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn cases() -> Vec<(&'static str, Forgery)> {
    let honest = || vec![folder("one"), file("one/a", b"content")];
    let with = |more: Vec<(Value, Vec<u8>)>| Forgery::of([honest(), more].concat());
    let line = |line: Value| with(vec![other(line)]);
    let link =
        |path: &str, target: &str| other(json!({ "path": path, "kind": "link", "mode": "0777", "target": target }));
    let hard =
        |path: &str, first: &str| other(json!({ "path": path, "kind": "hard-link", "mode": "0644", "first": first }));
    let big = || Forgery::of(vec![folder("one"), file("one/a", &vec![7; 3 << 20])]);
    vec![
        ("an absolute path", with(vec![file("/tmp/evil", b"x")])),
        ("a path that climbs", with(vec![file("one/../../evil", b"x")])),
        ("a path that climbs at its end", with(vec![folder("one/b/..")])),
        ("an empty component", with(vec![file("one//b", b"x")])),
        ("a NUL in a path", with(vec![file("one/b\0c", b"x")])),
        ("a source that the record does not name", with(vec![folder("two")])),
        ("no root", Forgery::of(vec![file("one/a", b"x")])),
        ("a root that is a link", Forgery::of(vec![link("one", "/tmp")])),
        ("the same entry twice", with(vec![file("one/a", b"content")])),
        ("entries out of order", with(vec![file("one/0", b"x")])),
        (
            "a file beneath a link to the outside",
            with(vec![link("one/b", "/tmp"), file("one/b/evil", b"x")]),
        ),
        (
            "a file beneath a link that climbs",
            with(vec![link("one/b", "../.."), file("one/b/evil", b"x")]),
        ),
        ("a file beneath a file", with(vec![file("one/a/evil", b"x")])),
        (
            "a file in a folder that is not there",
            with(vec![file("one/b/c/d", b"x")]),
        ),
        (
            "a hard link to an absolute path",
            with(vec![hard("one/b", "/etc/passwd")]),
        ),
        ("a hard link that climbs", with(vec![hard("one/b", "../../etc/passwd")])),
        ("a hard link to what is not there", with(vec![hard("one/b", "c")])),
        (
            "a hard link to a folder",
            with(vec![folder("one/b"), hard("one/c", "b")]),
        ),
        (
            "a hard link through a link",
            with(vec![link("one/b", "/etc"), hard("one/c", "b/passwd")]),
        ),
        (
            "a mode beyond its bits",
            line(json!({ "path": "one/b", "kind": "folder", "mode": "200755" })),
        ),
        (
            "a device without numbers",
            line(json!({ "path": "one/b", "kind": "block-device", "mode": "0600" })),
        ),
        (
            "an unknown kind",
            line(json!({ "path": "one/b", "kind": "door", "mode": "0600" })),
        ),
        (
            "an unknown key",
            line(json!({ "path": "one/b", "kind": "folder", "mode": "0755", "run": "/bin/sh" })),
        ),
        ("an attribute without a namespace", {
            line(json!({ "path": "one/b", "kind": "folder", "mode": "0755", "xattrs": [["evil", ""]] }))
        }),
        ("a NUL in a link", with(vec![link("one/b", "x\0y")])),
        ("content with another digest", {
            let (mut line, data) = file("one/b", b"x");
            line["blake3"] = json!(Digest::of(b"y").to_string());
            with(vec![(line, data)])
        }),
        ("content at another place", {
            let (mut line, data) = file("one/b", b"x");
            line["data"] = json!(0);
            with(vec![(line, data)])
        }),
        ("a file larger than the archive", {
            let (mut line, data) = file("one/b", b"x");
            line["size"] = json!(1_u64 << 40);
            with(vec![(line, data)])
        }),
        ("a file larger than the record says its source is", {
            let (mut line, data) = file("one/b", b"x");
            line["size"] = json!(1_u64 << 40);
            Forgery {
                record: |r| r["sources"][0]["bytes"] = json!(1),
                ..with(vec![(line, data)])
            }
        }),
        ("extents that overlap", {
            let (mut line, data) = file("one/b", &[1; 20]);
            line["size"] = json!(100);
            line["extents"] = json!([[0, 10], [5, 10]]);
            with(vec![(line, data)])
        }),
        ("an extent beyond the file", {
            let (mut line, data) = file("one/b", &[1; 20]);
            line["extents"] = json!([[10, 20]]);
            with(vec![(line, data)])
        }),
        ("a header with another name than the catalog", {
            Forgery {
                plain: |plain| flip_first(plain, b"one/a\0", b"../a\0"),
                ..with(vec![])
            }
        }),
        ("a header with another type than the catalog", {
            Forgery {
                plain: |plain| plain[512 + 156] = b'2',
                ..with(vec![])
            }
        }),
        ("another entry behind the last", {
            Forgery {
                plain: |plain| plain.splice(512..512, vec![0; 512]).for_each(drop),
                ..with(vec![])
            }
        }),
        (
            "bytes behind the end",
            Forgery {
                plain: |plain| plain.extend_from_slice(&[0; 512]),
                ..with(vec![])
            },
        ),
        (
            "bytes in the padding",
            Forgery {
                plain: |plain| plain[1024 + 100] = 1,
                ..with(vec![])
            },
        ),
        (
            "an archive that ends early",
            Forgery {
                plain: |plain| plain.truncate(700),
                ..with(vec![])
            },
        ),
        ("a superseded stretch at another place", {
            line(json!({ "kind": "superseded", "stretch": [0, 512] }))
        }),
        ("a frame that unpacks to more than its table says", {
            let lie = |plain: &[u8]| framed(plain, |l| (l[0].plain, l[1].plain) = (1 << 19, (1 << 20) + (1 << 19)));
            Forgery {
                frames: Some(lie),
                ..big()
            }
        }),
        ("a frame that claims 4 GiB", {
            Forgery {
                frames: Some(|plain| framed(plain, |l| l[0].plain = u32::MAX)),
                ..big()
            }
        }),
        ("a table of frames that does not add up", {
            Forgery {
                frames: Some(|plain| framed(plain, |l| l[0].stored += 1)),
                ..big()
            }
        }),
        (
            "no table of frames",
            Forgery {
                frames: Some(|plain| compress_whole(plain, 3).unwrap()),
                ..big()
            },
        ),
        ("a catalog that claims 1 TiB", {
            Forgery {
                record: |r| r["segments"][0]["plain-bytes"] = json!(1_u64 << 40),
                ..with(vec![])
            }
        }),
        ("a catalog that unpacks to more than it says", {
            Forgery {
                catalog: |t| t.push_str(&"\n".repeat(30 << 20)),
                record: |r| r["segments"][0]["plain-bytes"] = json!(4096),
                ..with(vec![])
            }
        }),
        ("a catalog with fewer lines than the record says", {
            Forgery {
                record: |r| r["segments"][0]["lines"] = json!(9),
                ..with(vec![])
            }
        }),
        ("counts other than the record's", {
            Forgery {
                record: |r| r["sources"][0]["bytes"] = json!(1),
                ..with(vec![])
            }
        }),
        ("a record that names another archive", {
            Forgery {
                record: |r| r["archive"]["name"] = json!("archives/../../../etc/shadow"),
                ..with(vec![])
            }
        }),
        ("a record that names another catalog", {
            Forgery {
                record: |r| r["segments"][0]["name"] = json!("catalogs/../repository.json"),
                ..with(vec![])
            }
        }),
        (
            "a record with another id",
            Forgery {
                record: |r| r["id"] = json!("20261121T215100Z-0000"),
                ..with(vec![])
            },
        ),
        (
            "a record of a newer format",
            Forgery {
                record: |r| r["format"] = json!(2),
                ..with(vec![])
            },
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hostile_archive_is_refused_by_name_and_writes_nothing_outside() {
    assert!(cases().len() >= 40);
    let honest = tempfile::tempdir().unwrap();
    restore(
        Forgery::of(vec![folder("one"), file("one/a", b"content")]),
        honest.path(),
    )
    .await
    .unwrap();
    assert_eq!(std::fs::read(honest.path().join("one/a")).unwrap(), b"content");
    let outer = tempfile::tempdir().unwrap();
    for (name, forgery) in cases() {
        let to = outer.path().join("to");
        std::fs::create_dir(&to).unwrap();
        let result = restore(forgery, &to).await;
        let error = result.expect_err(name);
        let named = Code::ALL.iter().any(|code| code.as_str() == error) || error.contains("record");
        assert!(named && error != Code::Internal.as_str(), "{name}: {error}");
        assert_eq!(
            std::fs::read_dir(&to).unwrap().count(),
            0,
            "{name} leaves something behind"
        );
        std::fs::remove_dir(&to).unwrap();
        assert_eq!(
            std::fs::read_dir(outer.path()).unwrap().count(),
            0,
            "{name} writes outside"
        );
    }
    for outside in ["/tmp/evil", "/evil", "/tmp/a/evil"] {
        assert!(!Path::new(outside).exists(), "{outside}");
    }
}

#[test]
fn an_honest_file_has_the_kind_that_the_forger_gives_it() {
    let line = r#"{"path":"one/a","kind":"file","mode":"0644","size":1,"blake3":"#.to_owned()
        + &format!("\"{}\",\"data\":0}}", Digest::of(b"x"));
    let Some(Ok(Line::Entry(listed))) = read_segment(line.as_bytes()).next() else {
        panic!("not read")
    };
    assert_eq!(listed.entry.kind, Kind::File { size: 1, extents: None });
}
