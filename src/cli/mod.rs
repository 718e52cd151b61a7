//! The command line: reads arguments and the environment, chooses a format, prints, exits.
