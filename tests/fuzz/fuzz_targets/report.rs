//! The log reader of `sealgate report`.
#![cfg_attr(fuzzing, no_main)]

sealgate_fuzz::target!(sealgate_fuzz::report::report);
