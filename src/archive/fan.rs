//! One stream of stored bytes to several targets at once, byte-identical in all.
//!
//! A target that fails is left out and named; the run goes on while enough targets are left.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::codec::ordered::Gone;
use crate::event::{Event, Events};
use crate::limits::UPLOAD_PACKS_QUEUED;
use crate::target::{Created, Target, TargetError};

/// What a target is given, in order.
#[derive(Clone, Debug)]
pub enum Item {
    /// The next bytes of the archive.
    Archive(Bytes),
    /// The archive is complete.
    ArchiveEnd,
    /// A small object, complete.
    Object(String, Bytes),
}

/// The sending side: clones give to the same targets.
#[derive(Clone)]
pub struct Fan {
    targets: Vec<mpsc::Sender<Item>>,
    required: usize,
    alive: Arc<AtomicUsize>,
}

/// What an upload ends with: the names of the objects that the target had before.
type Had = Result<Vec<String>, TargetError>;

/// The receiving side: one task a target.
pub struct Uploads(Vec<(Target, JoinHandle<Had>)>);

/// What waits for a target that is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Pieces of an archive, a frame each at most.
    Pieces,
    /// Whole packs.
    Packs,
}

impl Queue {
    const fn length(self) -> usize {
        match self {
            Self::Pieces => 8,
            Self::Packs => UPLOAD_PACKS_QUEUED,
        }
    }
}

/// Starts one upload a target; `archive` is the name of the archive's object.
pub fn fan_out(targets: &[Target], archive: &str, required: usize, queue: Queue, events: &Events) -> (Fan, Uploads) {
    let (mut senders, mut uploads) = (Vec::new(), Vec::new());
    for target in targets {
        let (sender, items) = mpsc::channel(queue.length());
        let upload = upload(target.clone(), archive.to_owned(), items, events.clone());
        senders.push(sender);
        uploads.push((target.clone(), tokio::spawn(upload)));
    }
    let alive = Arc::new(AtomicUsize::new(senders.len()));
    (
        Fan {
            targets: senders,
            required: required.max(1),
            alive,
        },
        Uploads(uploads),
    )
}

impl Fan {
    /// Gives `item` to every target that still takes any; blocks while one of them is behind.
    ///
    /// # Errors
    /// When fewer targets are left than required.
    pub fn send(&mut self, item: &Item) -> Result<(), Gone> {
        self.targets.retain(|target| target.blocking_send(item.clone()).is_ok());
        self.alive.fetch_min(self.targets.len(), Ordering::Relaxed);
        if self.alive.load(Ordering::Relaxed) < self.required {
            Err(Gone)
        } else {
            Ok(())
        }
    }
}

/// What became of the uploads.
pub struct Uploaded {
    /// Targets that took everything, each with the names of the objects that it had before.
    pub stored: Vec<(Target, Vec<String>)>,
    /// Targets that failed, each with its error.
    pub failed: Vec<(Target, TargetError)>,
}

impl Uploads {
    /// Waits for all of them. Every [`Fan`] must be gone by then.
    pub async fn finish(self) -> Uploaded {
        let mut uploaded = Uploaded {
            stored: Vec::new(),
            failed: Vec::new(),
        };
        for (target, task) in self.0 {
            match task.await {
                Ok(Ok(had)) => uploaded.stored.push((target, had)),
                Ok(Err(error)) => uploaded.failed.push((target, error)),
                Err(join) => {
                    let source = std::io::Error::other(join.to_string());
                    let (name, object) = (target.name().to_string(), String::new());
                    let error = TargetError::Failed {
                        target: name,
                        object,
                        source,
                    };
                    uploaded.failed.push((target, error));
                }
            }
        }
        uploaded
    }
}

/// Takes items until the end, and says which of the objects were there before. An archive without its end is dropped, and
/// nothing of it is left.
async fn upload(target: Target, archive: String, mut items: mpsc::Receiver<Item>, events: Events) -> Had {
    let mut writer = None;
    let mut had = Vec::new();
    while let Some(item) = items.recv().await {
        let bytes = match &item {
            Item::Archive(bytes) | Item::Object(_, bytes) => bytes.len() as u64,
            Item::ArchiveEnd => 0,
        };
        match item {
            Item::Archive(bytes) => {
                if writer.is_none() {
                    writer = Some(target.writer(&archive).await?);
                }
                if let Some(writer) = &mut writer {
                    writer.put(bytes).await?;
                }
            }
            Item::ArchiveEnd => {
                if let Some(writer) = writer.take() {
                    writer.finish().await?;
                }
            }
            // An object of the same name has the same content: its name is its digest.
            Item::Object(name, content) => {
                if target.create(&name, content).await? == Created::Existed {
                    had.push(name);
                }
            }
        }
        events.tell(&Event::TargetStored {
            target: target.name().to_string(),
            bytes,
        });
    }
    if let Some(unfinished) = writer {
        unfinished.abort().await?;
    }
    Ok(had)
}
