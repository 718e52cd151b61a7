//! Every bound in one place, each with its unit and its reason.

/// Bytes of plain text in a zstd frame, a power of two: 1 to 13 % smaller than frames of 1 MiB at the same speed (measured).
pub const FRAME: usize = 4 << 20;
/// Bytes of a frame that are tried out first: a sixty-fourth of it, so the trial costs 3 %.
pub const FRAME_SAMPLE: usize = 64 << 10;
/// Bytes of plain text that a reader takes from one frame: a header that claims more is hostile.
pub const FRAME_MAX: usize = 8 << 20;
/// Bytes from which a file counts as large: read in pieces, framed alone.
pub const LARGE_FILE: u64 = 1 << 20;
/// Bytes of one read from a source.
pub const READ_BLOCK: usize = 1 << 20;
/// Bytes that are read from an object in one piece, where no more are wanted: a frame that did not shrink, sealed.
pub const READ_AT_ONCE: usize = FRAME + FRAME / 16;
/// Stored bytes of a pack: one put without parts, 880 MB/s with a sync each (measured), few enough objects for a listing.
pub const PACK_STORED: usize = 16 << 20;
/// Plain bytes of a pack, so that offsets in it fit 32 bits however well its content is compressed.
pub const PACK_PLAIN: u64 = 1 << 30;
/// Frames that wait between reader and compressors, beyond one a worker: keeps both busy, bounds the memory.
pub const FRAMES_QUEUED: usize = 1;
/// Bytes of one part in a streamed upload.
pub const UPLOAD_PART: usize = 8 << 20;
/// Frames that are unpacked together when a backup in chunks is read: with `FRAMES_KEPT` they bound its memory.
pub const BATCH_FRAMES: usize = 2;
/// Entries in such a batch, however small they are.
pub const BATCH_ENTRIES: usize = 2048;
/// Steps that wait for one frame when a part of a backup is read: three an entry, and a frame holds at most 4096 small files.
pub const JOB_STEPS: usize = 16_384;
/// Bytes of a file that `cat` holds until the digest of the whole was found right. A larger file is read twice.
pub const CAT_HELD: usize = 8 << 20;
/// Versions of entries that `find` gathers before it gives up: about 50 MB.
pub const FIND_MAX: usize = 200_000;
/// Files of a damaged backup whose names are remembered while the others are restored: about 20 MB.
pub const LOST_MAX: usize = 100_000;
/// Bytes of the file in the state folder that remembers which samples were verified.
pub const SAMPLES_MAX: u64 = 4 << 20;
/// Bytes of a file in the state folder that remembers the last backups of a pipeline: hundreds of targets.
pub const KNOWN_MAX: u64 = 1 << 20;
/// Unpacked frames that are kept for whoever needs them next.
pub const FRAMES_KEPT: usize = 3;
/// Stored bytes that were read before their turn and wait to be hashed: what a few threads read at once is within it.
pub const PROOFS_AHEAD: usize = 16 << 20;
/// Objects of which a part was hashed, at a time: 2 KB each.
pub const PROOFS_OPEN: usize = 64;
/// Bytes from which a restored file is written past the page cache: below, making it costs more than its content.
pub const RESTORE_BEHIND: u64 = 512 << 10;
/// Bytes that such a thread writes at once: a disk gives all it has with a few of these.
pub const RESTORE_PIECE: usize = 1 << 20;
/// Such pieces that are filled or written at a time: they bound the memory.
pub const RESTORE_PIECES: usize = 5;
/// Threads that write them: they mostly wait for the disk.
pub const RESTORE_WRITERS: usize = 2;
/// Small files that such a thread makes at once: enough that handing them on costs nothing beside it.
pub const RESTORE_BATCH_FILES: usize = 128;
/// Folders that these lie in at most, all of them open: with all batches under way, far fewer than a process may have files open.
pub const RESTORE_BATCH_FOLDERS: usize = 32;
/// Threads that read packs, at least: while some unpack, others wait for the target.
pub const FETCHERS_MIN: usize = 2;
/// Restored databases that are judged at once: each keeps one core busy, and holds [`JUDGE_CACHE`].
pub const JUDGED_AT_ONCE: usize = 2;
/// Bytes of pages that SQLite holds while it judges a database: its own default reads the same page many times.
pub const JUDGE_CACHE: usize = 16 << 20;
/// Objects that are read and compared at once: one thread hashes while another waits for the disk.
pub const CHECKS_AT_ONCE: usize = 4;
/// Packs that wait for one target: each is held in memory whole.
pub const UPLOAD_PACKS_QUEUED: usize = 1;
/// Parts that wait for one target.
pub const UPLOAD_PARTS_QUEUED: usize = 2;
/// Seconds within which two changes of a file may bear the same times: the coarsest clock of a common file system.
pub const RACY_SECONDS: i64 = 2;
/// A database may lie in one run for so many pages; one in more is stored anew, which a day of scattered changes never causes.
pub const PAGES_RUN_SHARE: u64 = 2;
/// Tries to read a file that changes under the reader, the first one included.
pub const READ_TRIES: u32 = 3;
/// Bytes of plain text at which a catalog segment is closed: half of what a reader takes. The mean is 400 KiB.
pub const SEGMENT_CLOSED: usize = 32 << 20;
/// Bytes of plain text in one catalog segment that a reader takes, the recover script too: only one line can be more than
/// `SEGMENT_CLOSED`, by its table of packs.
pub const SEGMENT_MAX: usize = 64 << 20;
/// Bytes of plain text of segments that a reader keeps for its next look: the few around the place that it is at.
pub const SEGMENTS_KEPT_BYTES: usize = 8 << 20;
/// Bytes of one line of a catalog, for writers and readers: `CONTENT_RUNS_MAX` stretches of about 21 bytes, and as many frames of 4
/// MiB as 2 TiB have. A reader holds five times as much while it reads one.
pub const CATALOG_LINE_MAX: usize = 32 << 20;
/// Chunks of a file that its line lists, 27 bytes each: those of 16 GiB. They are a hint, so more are left out.
pub const CHUNKS_LISTED_MAX: usize = 65_536;
/// Stretches of packs that a file may lie in before its rest is stored anew, in few; with half of them it is stored anew whole when
/// it changes. Its line stays within `CATALOG_LINE_MAX`. A file of 250 GiB whose chunks are all scattered, a database of 10 GiB
/// after a day that changed a quarter of its pages here and there.
pub const CONTENT_RUNS_MAX: usize = 1_000_000;
/// Bytes of a record, of a `sums` or a `refs` object after unpacking.
pub const RECORD_MAX: usize = 16 << 20;
/// Bytes of plain text in a `refs` object: 16 MiB packs of a repository of 20 TiB.
pub const REFS_MAX: usize = 256 << 20;
/// Bytes of a file that redaction takes: it is read whole.
pub const REDACT_FILE_MAX: u64 = 64 << 20;
/// Bytes of a manifest file.
pub const MANIFEST_MAX: u64 = 4 << 20;
/// Problems of a manifest that are told one by one: what is beyond them is seldom read, and each costs a look at its file.
pub const PROBLEMS_LISTED: usize = 100;
/// Levels of tables and arrays in a manifest.
pub const MANIFEST_DEPTH: usize = 64;
/// Levels of folders below a source's root; the kernel's own path limit allows no more in one path.
pub const TREE_DEPTH: usize = 2048;
/// Folders held open while a tree is walked: well below the usual bound of 1024 descriptors a process.
pub const FOLDERS_HELD: usize = 128;
/// Stretches of data of one sparse file: their list stays well within a catalog line.
pub const EXTENTS_MAX: usize = 65_536;
/// Bytes of all extended attributes of one entry: the kernel's own limit of names and values.
pub const XATTRS_MAX: usize = 1 << 20;
/// Bytes of attributes of the folders that a restore has open, one in another: they wait until a folder is complete.
pub const WAITING_XATTRS_MAX: usize = 32 << 20;
/// Names that a swap renames one by one in a mount point: each is a line of the journal, which is written before the first.
pub const SWAP_NAMES_MAX: usize = 100_000;
/// Bytes of a swap journal that a reader takes: `SWAP_NAMES_MAX` renames with paths of the usual length.
pub const SWAP_JOURNAL_MAX: u64 = 128 << 20;
/// Destinations of swaps that the state folder remembers: a search of each is a listing of two folders.
pub const DESTINATIONS_REMEMBERED: usize = 1000;
/// Bytes of a secret value.
pub const SECRET_MAX: usize = 64 << 10;
/// Bytes of a file of secrets: a hundred of the largest values would not be written by hand.
pub const SECRET_FILE_MAX: u64 = 1 << 20;
/// Bytes of a line of a log that is held back until it is whole, so that no secret passes in two halves.
pub const SCRUB_LINE_MAX: usize = 1 << 20;
/// Files of a log that have a row of their own in a record: half a megabyte of it, and every listing reads all records.
pub const LOG_FILES_LISTED: usize = 4096;
/// Bytes of a log's record that are kept to be shown: secrets are taken out of them before they are cut short.
pub const LOG_RECORD_KEPT: usize = 8 << 10;
/// Characters of a log's record that a message shows: enough to know it by, and a line of a terminal or two.
pub const LOG_RECORD_SHOWN: usize = 160;
/// Blocks of a log that are compared before it is read, beside its last ones: of a log of which a hundredth was rewritten half
/// are found at once.
pub const LOG_BLOCKS_DRAWN: usize = 64;
/// States of a log in backups that one put back is compared with: each is a look at its first file, most of them no more.
pub const LOG_HEADS_COMPARED: usize = 64;
/// Bytes of an identity file that are read: many keys with their comments.
pub const IDENTITY_MAX: u64 = 64 << 10;
/// Bytes that are read of what is kept of a log: its blocks' digests up to two TiB, its files' rows up to some hundred thousand.
pub const LOG_BLOCKS_MAX: u64 = 64 << 20;
/// Plain bytes of a stored backup that are unpacked to find the first record in which a log differs: about a minute.
pub const LOG_COMPARE_MAX: u64 = 32 << 30;
/// Times that the copy of a database begins again because a writer came in between, before writers are kept out.
pub const SQLITE_RESTARTS: u32 = 3;
/// Tries to copy a database that nobody has open, or that someone opens meanwhile.
pub const SQLITE_TRIES: u32 = 5;
/// Seconds that a secret's command may take.
pub const SECRET_COMMAND_SECONDS: u64 = 30;
/// Minutes that a program of a pipeline may take where the manifest does not say: a service that stops slowly, a long check.
pub const COMMAND_MINUTES: u64 = 10;
/// Seconds that a program which is late, or not wanted any more, has to end by itself before it is killed.
pub const COMMAND_PATIENCE_SECONDS: u64 = 5;
/// Bytes of the end of a program's output that are kept: what is shown, and before it the longest form of a secret, so that
/// none is cut in two and shown in half.
pub const OUTPUT_KEPT: usize = 256 << 10;
/// Bytes of the end of a program's output that are shown and journalled: a screen full.
pub const OUTPUT_SHOWN: usize = 2 << 10;
/// Warnings that a report lists one by one; the rest is counted.
pub const WARNINGS_LISTED: usize = 100;
/// Records that are read at once when a target is surveyed: hides the distance to a store, well below its own limits.
pub const SURVEY_READS: usize = 16;
/// The highest sequence that is believed of a record that nobody trusted signed: no honest line gets there, and whoever forges
/// one this high leaves room for more backups than there will be.
pub const DISTRUSTED_SEQUENCE_MAX: u64 = 1 << 40;
/// Objects that one list of a sweep names: 5 MiB of names, 800 GiB of packs. What is beyond waits for the next sweep.
pub const SWEEP_LISTED: usize = 50_000;
/// Lists that one run writes in one target: far more than a run with several `retain` steps and a large purge does.
pub const SWEEP_LISTS: u32 = 1000;
/// Bytes of a list of a sweep.
pub const SWEEP_LIST_MAX: usize = 16 << 20;
/// Objects that a sweep deletes before it reads all records again; all of them stand in one record of the journal.
pub const SWEEP_BATCH: usize = 128;
/// Objects that are looked for one by one after a backup's record was written; where there are more the target is listed.
pub const REUSED_HEADS: usize = 256;
/// Hours that a backup may take where the environment does not say: what it relies on may be swept later.
pub const MAX_RUN_HOURS: u64 = 24;
/// Hours between the listing of an unneeded object and its deletion where the environment does not say.
pub const GRACE_HOURS: u64 = 72;
/// Hours that the grace must have beyond twice the longest run: clocks of stores are coarse.
pub const GRACE_MARGIN_HOURS: u64 = 1;
/// Minutes for which targets that lag behind are caught up before a backup where the environment does not say.
pub const CATCH_UP_MINUTES: u64 = 30;
/// Bytes of the ledger of packs that a killed run stored: ten million chunks, 24 bytes each. What is beyond is stored again.
pub const ARRIVED_MAX: u64 = 256 << 20;
/// Bytes of an object that is read whole when it is copied: every pack. A larger one is copied in pieces.
pub const COPIED_WHOLE: usize = 2 * PACK_STORED;
/// Minutes that a backup may be dated ahead of the clock before retention takes its date for wrong: clocks of hosts differ.
pub const RETAIN_AHEAD_MINUTES: i64 = 10;
/// Bytes of a list of times on which a policy is tried: a million of them.
pub const TIMES_MAX: u64 = 64 << 20;
/// Bytes of one line of the journal.
pub const JOURNAL_LINE_MAX: usize = 64 << 10;
/// Bytes of one part of an object's name: what file systems allow for a file name.
pub const OBJECT_PART_MAX: usize = 255;
/// Blocks of `READ_BLOCK` that a reader of a local target runs ahead: enough to keep the disk busy, 4 MiB a reader.
pub const READ_AHEAD_BLOCKS: usize = 4;
/// Levels of folders below a local target that are listed; this program makes four.
pub const TARGET_DEPTH: usize = 32;
/// Hours after which a temporary file in a local target that nobody holds open is removed: the longest a run may take.
pub const STALE_TEMPORARY_HOURS: u64 = 24;
/// Bytes written to a local target after which they are sent to the disk in the background: keeps the last sync short.
pub const WRITE_BEHIND: u64 = 64 << 20;
/// Bytes after which a segment of the journal is closed and the next one opened: read whole when the journal is opened.
pub const JOURNAL_SEGMENT: u64 = 16 << 20;
/// Bytes of one segment that a reader takes: a segment is closed by its first record beyond `JOURNAL_SEGMENT`.
pub const JOURNAL_SEGMENT_MAX: u64 = 64 << 20;
/// Bytes held back for the last record of a run that filled the disk.
pub const JOURNAL_RESERVE: usize = 64 << 10;
/// Bytes of one text in a record of the journal; what is longer is cut and marked.
pub const JOURNAL_TEXT_MAX: usize = 4 << 10;
/// Items of one list in a record of the journal; the rest is counted.
pub const JOURNAL_LIST_MAX: usize = 128;
/// Milliseconds that records may wait to be synced together.
pub const JOURNAL_GROUP_MILLISECONDS: u64 = 1000;
/// Milliseconds that one waits for another writer of the journal, who holds it for one record.
pub const JOURNAL_WAIT_MILLISECONDS: u64 = 10_000;
/// Seconds that the time of a record may lie before that of an earlier one: clocks are set right now and then.
pub const JOURNAL_CLOCK_BACK_SECONDS: i64 = 300;
/// Problems that a verification of the journal lists; the rest is counted.
pub const JOURNAL_PROBLEMS_LISTED: usize = 100;
/// By how much a part of a streamed upload to S3 is smaller than what was sent before it: 8 MiB up to 11 GiB, 73 MiB at
/// 100 GiB. The 10,000 parts that S3 takes then reach 5 TiB, its largest object.
pub const S3_PART_SHARE: u64 = 1400;
/// Bytes of a prefix within a bucket: with the names below it they stay within S3's 1024 bytes.
pub const S3_PREFIX_MAX: usize = 384;
/// Seconds that a request to S3 may take where the manifest does not say, and as long again for each `UPLOAD_PART` that
/// it carries: 8 MiB in two minutes is a line of half a megabit.
pub const S3_TIMEOUT_SECONDS: u64 = 60;
/// Times the timeout that a store may take to put the parts of an object together: Amazon says minutes.
pub const S3_COMPLETION_TIMEOUTS: u32 = 5;
/// Seconds that a connection to S3 may take to come about.
pub const S3_CONNECT_SECONDS: u64 = 10;
/// Seconds for which a failed request to S3 is tried again where the manifest does not say: a restart of a store.
pub const S3_RETRY_SECONDS: u64 = 60;
/// Seconds for which a manifest may have a request tried again: a signature is taken for a quarter of an hour.
pub const S3_RETRY_SECONDS_MAX: u64 = 600;
/// Tries again of one request to S3, whatever time is left.
pub const S3_RETRIES: usize = 12;
/// Milliseconds before the first try again; each pause is drawn between this and twice the one before.
pub const S3_BACKOFF_MILLISECONDS: u64 = 200;
/// Milliseconds of the longest pause between two tries.
pub const S3_BACKOFF_MILLISECONDS_MAX: u64 = 10_000;
/// Times that an object which stalls while it is read is asked for from where it stood.
pub const S3_STALLS: u32 = 3;
/// Tries of a create-only put that met another one or broke off, the first one included; each has its own tries again.
pub const S3_CREATE_TRIES: u32 = 3;
/// Bytes of an answer of S3 that is no object: a list of 1000 names of the longest kind, written out.
pub const S3_ANSWER_MAX: usize = 16 << 20;
/// Characters of a store's own message in an error.
pub const STORE_MESSAGE_MAX: usize = 300;
/// Hours after which an unfinished upload in S3 is given up whoever began it: the longest a run may take, and the answer to
/// a clock that was set right.
pub const STALE_UPLOAD_HOURS: i64 = 25;
/// Bytes of a dead run's notes of uploads: a few hundred for each object of several parts.
pub const LEDGER_MAX: u64 = 16 << 20;
/// Bytes of a file of trusted certificates: the whole list of a system has a quarter of it.
pub const CERTIFICATES_MAX: u64 = 1 << 20;
