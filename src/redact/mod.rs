//! Takes secret values out of text.
