//! Sealgate in front of the real Postfix and Dovecot: private instances, the real clients, the real binary.
//!
//! One test binary, so that all of it shares one Postfix and one Dovecot, and nothing is linked twice.

#[cfg(test)]
#[path = "../support/mod.rs"]
mod support;

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod backends;
#[cfg(test)]
mod check;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod imap;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod mail;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod received;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod systemd;
#[cfg(test)]
mod trouble;
