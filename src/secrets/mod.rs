//! Resolves references to secrets, and scrubs resolved values out of everything that is printed.
