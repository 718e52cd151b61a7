//! The tamper-evident record of every run: JSON lines chained by their RFC 6962 leaf hashes.
