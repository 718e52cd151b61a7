//! Renders an outcome: the table of formats, and what every format has in common.
//!
//! A format turns an [`Outcome`] into text and does nothing else. Secret values are taken out before, by [`scrub`], so no
//! format has to think of them.

pub mod human;
pub mod json;

mod excerpt;
mod lists;
mod scrubbing;

use clap::ValueEnum;

use crate::outcome::Outcome;

pub use lists::Rank;
pub use scrubbing::{scrub, scrub_item};

macro_rules! formats {
    ($($(#[doc = $doc:literal])* $variant:ident => $render:path;)*) => {
        /// How a result is written.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
        pub enum Format {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Format {
            /// Every format, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Renders `outcome` in this format.
            pub fn render(self, outcome: &Outcome, view: &View) -> Rendered {
                match self {
                    $(Self::$variant => $render(outcome, view),)*
                }
            }
        }
    };
}

formats! {
    /// For people: the result on the standard output, problems on the standard error.
    Human => human::render;
    /// For programs: one JSON document.
    Json => json::render;
}

/// What the reader sees it on. Formats for programs need none of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Colour of the result.
    pub result: Color,
    /// Colour of the problems.
    pub problems: Color,
    /// How much is told.
    pub detail: Detail,
}

/// Whether a text carries colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Color {
    /// Plain text.
    #[default]
    Plain,
    /// With escape sequences for colour.
    Ansi,
}

/// How much is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Everything.
    #[default]
    Full,
    /// Problems alone; a summary of what went well is left out.
    Problems,
}

/// A rendered outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The result itself.
    pub result: String,
    /// What is told beside it; empty where the format holds everything in one document.
    pub problems: String,
}
