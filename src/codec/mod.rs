//! Compression: zstd frames by the bulk API on all cores, streamed codecs beside them.
