//! Child processes: argv, no shell, an empty environment, bounded time and output.
