//! The manifest language: wrong manifests are refused at the right place with a way out, right ones compile.

mod layers;
mod mutations;
mod project;
mod schemas;
mod whole;
mod wrong;
