//! Stories of files and edits.
