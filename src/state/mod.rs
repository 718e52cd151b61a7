//! The state folder of an environment: created, locked, spooled into.
