//! SMTP before TLS.
#![cfg_attr(fuzzing, no_main)]

sealgate_fuzz::target!(sealgate_fuzz::smtp::preamble);
