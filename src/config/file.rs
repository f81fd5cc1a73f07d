//! The configuration as written: every mistake collected, each with its line, column and what to do.
