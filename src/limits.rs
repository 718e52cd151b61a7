//! Every bound in one place, each with its unit and its reason.

/// Bytes of plain text in a zstd frame of a large file: fits L2 tables, loses no ratio against larger ones (measured).
pub const FRAME_LARGE: usize = 1 << 20;
/// Bytes of plain text in a zstd frame of small files: 13 % smaller than 1 MiB frames at the same speed (measured).
pub const FRAME_SMALL: usize = 4 << 20;
/// Bytes of plain text that a reader takes from one frame: a header that claims more is hostile.
pub const FRAME_MAX: usize = 8 << 20;
/// Bytes from which a file counts as large: read in pieces, framed alone.
pub const LARGE_FILE: u64 = 1 << 20;
/// Bytes of one read from a source.
pub const READ_BLOCK: usize = 1 << 20;
/// Frames that wait between reader and compressors, beyond one a worker: keeps both busy, bounds the memory.
pub const FRAMES_QUEUED: usize = 4;
/// Bytes of one part in a streamed upload.
pub const UPLOAD_PART: usize = 8 << 20;
/// Parts that wait for one target.
pub const UPLOAD_PARTS_QUEUED: usize = 2;
/// Tries to read a file that changes under the reader, the first one included.
pub const READ_TRIES: u32 = 3;
/// Bytes of plain text in one catalog segment that a reader takes: the writer's mean is 400 KiB.
pub const SEGMENT_MAX: usize = 64 << 20;
/// Bytes of one line of a catalog: a path, its attributes and 64 KiB of each in base64.
pub const CATALOG_LINE_MAX: usize = 4 << 20;
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
/// Bytes of a secret value.
pub const SECRET_MAX: usize = 64 << 10;
/// Bytes of a file of secrets: a hundred of the largest values would not be written by hand.
pub const SECRET_FILE_MAX: u64 = 1 << 20;
/// Bytes of a line of a log that is held back until it is whole, so that no secret passes in two halves.
pub const SCRUB_LINE_MAX: usize = 1 << 20;
/// Seconds that a secret's command may take.
pub const SECRET_COMMAND_SECONDS: u64 = 30;
/// Warnings that a report lists one by one; the rest is counted.
pub const WARNINGS_LISTED: usize = 100;
/// Records that are read at once when a target is surveyed: hides the distance to a store, well below its own limits.
pub const SURVEY_READS: usize = 16;
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
