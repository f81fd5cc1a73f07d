//! Sealgate in front of the real Postfix and Dovecot: private instances, the real clients, the real binary.

#[cfg(test)]
#[path = "../support/mod.rs"]
mod support;

#[cfg(test)]
mod backends;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod systemd;
