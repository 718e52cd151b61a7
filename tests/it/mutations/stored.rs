//! Readers of what lies in a target.

use strongroom::archive::catalog::{Line, SegmentText, read_segment};
use strongroom::archive::chunks::fetch::Fetcher;
use strongroom::archive::epoch::read_keys;
use strongroom::archive::frame_table::FrameTable;
use strongroom::archive::keys::{Opening, epoch_name};
use strongroom::archive::layout::{self, Kind};
use strongroom::archive::plain;
use strongroom::archive::record::Record;
use strongroom::archive::refs::{Ref, Refs};
use strongroom::archive::sweep::SweepList;
use strongroom::archive::{repository, sums, tar_header};
use strongroom::codec::frames::{compress_whole, decompress_whole};
use strongroom::codec::seek_table::{self, FOOTER, FrameLength};
use strongroom::crypto::Digest;
use strongroom::crypto::age;
use strongroom::crypto::note;
use strongroom::event::Events;
use strongroom::limits::{FRAME_MAX, REFS_MAX};
use strongroom::target::Target;

use crate::chunks::Random;

use super::samples::Samples;
use super::{Reader, Took, block_on, claim};

pub(super) fn readers(samples: &Samples) -> Vec<Reader> {
    vec![
        record(samples),
        signature(samples),
        catalog(samples),
        refs_text(samples),
        refs_object(samples),
        sums_list(samples),
        seek_tables(),
        frame(),
        pack(samples),
        gzip_archive(),
        sealed(samples),
        key_text(samples),
        sweep_list(samples),
        repository_file(samples),
        names(samples),
    ]
}

fn target() -> Target {
    Target::memory("local".parse().unwrap())
}

fn record(samples: &Samples) -> Reader {
    let named = samples
        .records
        .iter()
        .map(|(name, _)| layout::parse_record(name).unwrap());
    let names: Vec<_> = named.collect();
    let chunk_key = samples.keys.chunk_key;
    let all = samples.records.iter().map(|(_, bytes)| bytes.clone()).collect();
    Reader::new("record", all, move |bytes| {
        let holds = |text: &str| bytes.windows(text.len()).any(|found| found == text.as_bytes());
        let named = names.iter().find(|(_, id)| holds(&format!("\"id\": \"{id}\"")));
        let (environment, id) = named.unwrap_or(&names[0]);
        let Ok(mut record) = Record::parse(bytes, environment, id) else {
            return Ok(false);
        };
        let again = record
            .to_bytes()
            .ok()
            .map(|bytes| Record::parse(&bytes, environment, id));
        claim(
            matches!(again, Some(Ok(again)) if again == record),
            "it reads back otherwise",
        )?;
        let _ = (record.source_bytes(), record.entries(), record.stored_bytes());
        record.unlock(&chunk_key);
        Ok(true)
    })
}

fn signature(samples: &Samples) -> Reader {
    let signed = samples
        .objects("backups")
        .into_iter()
        .filter(|bytes| bytes.starts_with(b"strongroom"));
    let notes: Vec<Vec<u8>> = signed.collect();
    let trusted = vec![samples.signer.clone()];
    let text = |note: &[u8]| {
        let (text, _) = note::open(std::str::from_utf8(note).unwrap(), &trusted).unwrap();
        text.to_owned()
    };
    let texts: Vec<String> = notes.iter().map(|note| text(note)).collect();
    let trusted = vec![samples.signer.clone()];
    Reader::new("signature", notes, move |bytes| {
        let opened = std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| note::open(text, &trusted).ok());
        match opened {
            None => Ok(false),
            Some((text, _)) => claim(texts.iter().any(|known| known == text), "nobody signed that").map(|()| true),
        }
    })
}

fn catalog(samples: &Samples) -> Reader {
    Reader::new("catalog", samples.segments(), |bytes| {
        let Ok(lines) = read_segment(bytes).collect::<Result<Vec<Line>, _>>() else {
            return Ok(false);
        };
        let mut text = SegmentText::default();
        for line in &lines {
            claim(matches!(text.push(line), Ok(None)), "a line cannot be written again")?;
            if let Line::Entry(listed) = line {
                let _ = listed.entry.kind.data_bytes();
                let headers = tar_header::render(listed.source.as_str(), &listed.entry);
                claim(headers.len().is_multiple_of(512), "tar headers that are no blocks")?;
            }
        }
        let written = text.take().map_err(|error| error.to_string())?;
        let again = written.map(|(text, _)| read_segment(&text).map(Result::unwrap).collect::<Vec<_>>());
        claim(again.unwrap_or_default() == lines, "it reads back otherwise")?;
        Ok(true)
    })
}

fn take_refs(stored: &[u8]) -> Took {
    let Ok(refs) = Refs::from_object(stored) else {
        return Ok(false);
    };
    let sorted = refs
        .iter()
        .zip(refs.iter().skip(1))
        .all(|(one, two)| one.name < two.name);
    claim(sorted, "it is not sorted")?;
    let swept = |one: &Ref| Kind::of(&one.name).is_some_and(Kind::is_swept) && refs.get(&one.name) == Some(one);
    claim(
        refs.iter().all(swept),
        "it names what no sweep may touch, or does not find it again",
    )?;
    let bytes: usize = refs.iter().map(|one| one.name.len()).sum();
    claim(bytes <= REFS_MAX, "it holds more than it may")?;
    let again = refs.to_object().ok().and_then(|stored| Refs::from_object(&stored).ok());
    claim(again == Some(refs), "it reads back otherwise")?;
    Ok(true)
}

fn refs_text(samples: &Samples) -> Reader {
    Reader::new("refs", samples.refs(), |bytes| {
        take_refs(&compress_whole(bytes, 1).map_err(|error| error.to_string())?)
    })
}

fn refs_object(samples: &Samples) -> Reader {
    Reader::new("refs, packed", samples.objects("refs"), take_refs)
}

fn sums_list(samples: &Samples) -> Reader {
    let parsed = samples.parsed();
    Reader::new("sums", samples.objects("sums"), move |bytes| {
        let mut took = false;
        for (record, stored) in &parsed {
            let target = target();
            let name = layout::sums(&record.environment, &record.id);
            block_on(target.create(&name, bytes.to_vec().into())).map_err(|error| error.to_string())?;
            let sound = block_on(sums::check_record(&target, record, stored)).is_ok();
            let object = layout::record(&record.environment, &record.id);
            let line = format!("{}  {object}", Digest::of(stored));
            let listed = bytes.split(|byte| *byte == b'\n').any(|found| found == line.as_bytes());
            claim(
                sound == listed,
                "the record is taken for the one it is not, or the other way round",
            )?;
            took |= sound;
        }
        Ok(took)
    })
    .costly(4)
}

fn seek_tables() -> Reader {
    let frames = |count: u32| -> Vec<FrameLength> {
        let frame = |n| FrameLength {
            stored: n * 7 + 9,
            plain: n * 1000,
        };
        (0..count).map(frame).collect()
    };
    let samples = [0, 1, 5, 40].map(|count| seek_table::write(&frames(count)).unwrap());
    Reader::new("table of frames", samples.into(), |bytes| {
        let footer = &bytes[bytes.len().saturating_sub(FOOTER)..];
        let Ok(length) = seek_table::table_length(footer) else {
            return Ok(false);
        };
        // As long as it says, as far as the object goes; then what it says of the object itself is taken for granted.
        let from = bytes
            .len()
            .saturating_sub(usize::try_from(length).unwrap_or(usize::MAX));
        let table = &bytes[from..];
        let entries = table.get(8..table.len().saturating_sub(FOOTER)).unwrap_or_default();
        let word = |at: usize| u32::from_le_bytes(entries[at..at + 4].try_into().unwrap());
        let sum = |first: usize| {
            (0..entries.len() / 8)
                .map(|n| u64::from(word(n * 8 + first)))
                .sum::<u64>()
        };
        let (stored, plain) = (sum(0) + table.len() as u64, sum(4));
        let Ok(frames) = seek_table::read(table, stored, plain) else {
            return Ok(false);
        };
        claim(
            seek_table::write(&frames).as_deref() == Ok(table),
            "it is written otherwise",
        )?;
        let fits = |frame: &FrameLength| frame.plain as usize <= FRAME_MAX;
        claim(frames.iter().all(fits), "a frame that is too large")?;
        let other =
            seek_table::read(table, stored + 1, plain).is_err() && seek_table::read(table, stored, plain + 1).is_err();
        claim(other, "it fits an object of another length")?;
        let table = FrameTable::new(frames);
        let parts = table
            .parts(&(0..plain))
            .map_err(|at| format!("byte {at} lies in no frame"))?;
        claim(
            parts.iter().map(|(_, part)| part.len() as u64).sum::<u64>() == plain,
            "frames that do not cover the object",
        )?;
        claim(table.parts(&(plain..plain + 1)).is_err(), "a byte behind the end")?;
        Ok(true)
    })
}

fn frame() -> Reader {
    let plains = [
        &[7; 3000][..],
        &Random::new(3).bytes(3000),
        &Random::new(4).bytes(1),
        b"",
    ];
    let stored = plains.iter().map(|plain| compress_whole(plain, 3).unwrap()).collect();
    Reader::new("frame", stored, |bytes| {
        let mut took = false;
        // The largest frame there is costs as much as a thousand others.
        let lengths = [FRAME_MAX, 0, 1, 3000];
        let lengths = if bytes.len().is_multiple_of(64) {
            &lengths[..]
        } else {
            &lengths[1..]
        };
        for expected in lengths.iter().copied() {
            if let Ok(plain) = decompress_whole(bytes, expected) {
                claim(plain.len() == expected, "a frame of another length")?;
                took = true;
            }
        }
        Ok(took)
    })
    .costly(4)
}

fn pack(samples: &Samples) -> Reader {
    let packs = samples.packs();
    let digest = packs[0].0;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let all = packs.into_iter().map(|(_, bytes)| bytes).collect();
    Reader::new("pack", all, move |bytes| {
        let target = target();
        let name = layout::pack(&digest);
        let one = Ref {
            name: name.clone(),
            bytes: bytes.len() as u64,
            plain_bytes: 1,
        };
        runtime
            .block_on(target.create(&name, bytes.to_vec().into()))
            .map_err(|error| error.to_string())?;
        let (refs, handle) = (Refs::new([one]), runtime.handle().clone());
        let fetcher = Fetcher::new(&target, &Opening::Plain, refs, &Events::none(), handle);
        let mut took = false;
        for (offset, length) in [(0, 1), (512, 5), (u32::MAX, u32::MAX), (0, u32::MAX)] {
            for part in fetcher.parts(&digest, offset, length).unwrap_or_default() {
                let Ok(plain) = fetcher.frame(part.frame) else { continue };
                claim(plain.get(part.range).is_some(), "a part behind its frame")?;
                took = true;
            }
        }
        Ok(took)
    })
    .costly(8)
}

/// What comes to its end has the length that the record says and the sum that the stream says: it is the archive itself.
fn gzip_archive() -> Reader {
    let (objects, record, text) = Samples::gzipped();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    Reader::new("archive by gzip", objects, move |bytes| {
        let target = target();
        let mut record = record.clone();
        record.bytes = bytes.len() as u64;
        let read = async {
            let created = target.create(&record.name, bytes.to_vec().into()).await;
            created.map_err(|error| error.to_string())?;
            let opened = plain::open(&target, &record, &Opening::Plain, (&Events::none(), None)).await;
            let Ok(mut plain) = opened else {
                return Ok(None);
            };
            let length = record.plain_bytes;
            let take = move || {
                let mut given = Vec::new();
                let read = plain.read(length, |piece| {
                    given.extend_from_slice(piece);
                    Ok::<(), ()>(())
                });
                (matches!((read, plain.ended()), (Ok(()), Ok(true)))).then_some(given)
            };
            tokio::task::spawn_blocking(take)
                .await
                .map_err(|error| error.to_string())
        };
        match runtime.block_on(read)? {
            Some(given) => claim(given == text, "another archive").map(|()| true),
            None => Ok(false),
        }
    })
    .costly(16)
}

fn sealed(samples: &Samples) -> Reader {
    let (objects, plains): (Vec<_>, Vec<_>) = samples.sealed_objects().into_iter().unzip();
    let identities = samples.identities.clone();
    Reader::new("sealed object", objects, move |bytes| {
        let counted = age::count_recipients(bytes).unwrap_or(0);
        claim(counted <= bytes.len() / 40, "more recipients than there is room for")?;
        match age::open(&identities, bytes) {
            Ok(plain) => claim(plains.contains(&plain), "nobody sealed that").map(|()| true),
            Err(_) => Ok(false),
        }
    })
    .costly(16)
}

fn key_text(samples: &Samples) -> Reader {
    let name = samples.keys.name.clone();
    Reader::new("keys, opened", samples.key_texts(), move |bytes| {
        let Ok((keys, _)) = read_keys(&name, "keys/object", bytes) else {
            return Ok(false);
        };
        let same = keys.name == name && epoch_name(&keys.identity.recipient()) == name;
        claim(same, "keys of another epoch").map(|()| true)
    })
    .costly(8)
}

fn sweep_list(samples: &Samples) -> Reader {
    let names = samples.one_refs();
    let object = |one: &Ref| format!("{{ \"name\": \"{}\", \"bytes\": {} }}", one.name, one.bytes);
    let listed: Vec<String> = names.iter().map(object).collect();
    let list = |when: &str, objects: &[String]| {
        format!(
            "{{\n  \"format\": 1,\n  \"run\": \"01980000-0000-7000-8000-000000000000\",\n  \"when\": \"{when}\",\n  \
             \"objects\": [\n    {}\n  ]\n}}\n",
            objects.join(",\n    ")
        )
    };
    let lists = [
        list("later", &listed),
        list("at-once", &listed[1..]),
        list("later", &[]),
    ];
    let all: Vec<Vec<u8>> = lists.into_iter().map(String::into_bytes).collect();
    assert!(all.iter().all(|bytes| SweepList::parse(bytes).is_ok()));
    Reader::new("sweep list", all, |bytes| {
        let Ok(list) = SweepList::parse(bytes) else {
            return Ok(false);
        };
        let swept = |name: &str| Kind::of(name).is_some_and(Kind::is_swept);
        claim(
            list.objects.iter().all(|one| swept(&one.name)),
            "it lists what no sweep may touch",
        )?;
        let again = list.to_bytes().ok().and_then(|bytes| SweepList::parse(&bytes).ok());
        claim(again == Some(list), "it reads back otherwise")?;
        Ok(true)
    })
}

fn repository_file(samples: &Samples) -> Reader {
    Reader::new("repository.json", samples.objects("repository.json"), |bytes| {
        let holding = |bytes: &[u8]| {
            let target = target();
            block_on(target.create(layout::REPOSITORY, bytes.to_vec().into())).map_err(|error| error.to_string())?;
            Ok::<_, String>(target)
        };
        let Ok(Some(found)) = block_on(repository::open(&holding(bytes)?)) else {
            return Ok(false);
        };
        claim(found.format <= layout::FORMAT, "a newer format")?;
        let again = target();
        block_on(repository::create(&again, &found)).map_err(|error| error.to_string())?;
        let again = block_on(repository::open(&again)).ok().flatten();
        claim(again == Some(found), "it reads back otherwise")?;
        Ok(true)
    })
    .costly(4)
}

/// Names of objects: what is of a kind has exactly the name that a writer of that kind gives it.
fn names(samples: &Samples) -> Reader {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for project in [&samples.plain, &samples.sealed.project] {
        all.extend(crate::chunks::objects(project, "").into_keys().map(String::into_bytes));
    }
    all.push(b"sweep/01980000-0000-7000-8000-000000000000-2.json".to_vec());
    Reader::new("object name", all, |bytes| {
        let Ok(name) = std::str::from_utf8(bytes) else {
            return Ok(false);
        };
        let kind = Kind::of(name);
        let safe = !name.contains("..") && !name.contains("//") && !name.starts_with('/') && name.is_ascii();
        claim(kind.is_none() || safe, "a name that could lead elsewhere")?;
        if let Some((environment, id)) = layout::parse_record(name) {
            claim(layout::record(&environment, &id) == name, "a record of two names")?;
        }
        if let Some(digest) = layout::pack_digest(name) {
            let plain = name.strip_suffix(".age").unwrap_or(name);
            claim(layout::pack(&digest) == plain, "a pack of two names")?;
        }
        if let Some((epoch, recipients)) = layout::parse_key(name) {
            claim(layout::key(epoch, recipients) == name, "a key of two names")?;
        }
        Ok(kind.is_some())
    })
}
