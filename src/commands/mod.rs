//! One file a subcommand: request in, outcome out.
