//! Puts entries back: staged beside the destination, then swapped in.
