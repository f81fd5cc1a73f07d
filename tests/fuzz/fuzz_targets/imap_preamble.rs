//! IMAP before TLS.
#![cfg_attr(fuzzing, no_main)]

sealgate_fuzz::target!(sealgate_fuzz::imap::preamble);
