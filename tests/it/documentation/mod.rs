//! The README and the pages of `docs/`: their commands work, their configurations are accepted, and what they name
//! exists. `CONTRIBUTING.md` says how a page marks commands that cannot be run here.

mod commands;
mod names;
mod pages;
mod shape;
