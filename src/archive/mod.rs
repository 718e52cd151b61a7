//! What lies in a target: archives, catalogs, records, refs, sums; written, read, judged.
