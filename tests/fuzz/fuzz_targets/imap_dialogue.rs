//! IMAP before the login, both sides.
#![cfg_attr(fuzzing, no_main)]

sealgate_fuzz::target!(sealgate_fuzz::imap::dialogue);
