//! How many connections a client network may hold.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;

/// Counts open connections by client network. Holds an entry only while there is a connection.
pub struct Addresses {
    most: NonZeroUsize,
    exempt: Vec<IpNet>,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's place; free again when dropped.
#[must_use = "the place is free again when this is dropped"]
pub struct AddressPermit {
    addresses: Arc<Addresses>,
    counted: Option<IpAddr>,
}

impl Addresses {
    /// At most `most` connections for each network but the exempt ones.
    pub fn new(most: NonZeroUsize, exempt: Vec<IpNet>) -> Self {
        Self { most, exempt, open: Mutex::default() }
    }

    /// A place for a client, or none when its network has all of its places taken.
    pub fn admit(self: &Arc<Self>, client: IpAddr) -> Option<AddressPermit> {
        if self.exempt.iter().any(|network| network.contains(&client)) {
            return Some(AddressPermit { addresses: self.clone(), counted: None });
        }
        let network = network_of(client);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(network).or_default();
        if *count >= self.most.get() {
            return None;
        }
        *count += 1;
        Some(AddressPermit { addresses: self.clone(), counted: Some(network) })
    }
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        let Some(network) = self.counted else { return };
        let mut open = self.addresses.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                open.remove(&network);
            }
        }
    }
}

/// An IPv4 address counts for itself, an IPv6 address for its /64: whoever has one address of that has all of them.
fn network_of(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(most: usize) -> Arc<Addresses> {
        Arc::new(Addresses::new(most.try_into().unwrap(), vec!["127.0.0.0/8".parse().unwrap()]))
    }

    #[test]
    fn a_full_network_is_refused_until_a_place_is_free() {
        let addresses = addresses(1);
        let first = addresses.admit("203.0.113.5".parse().unwrap());
        assert!(first.is_some());
        assert!(addresses.admit("203.0.113.5".parse().unwrap()).is_none());
        assert!(addresses.admit("203.0.113.6".parse().unwrap()).is_some());
        drop(first);
        assert!(addresses.admit("203.0.113.5".parse().unwrap()).is_some());
        assert!(addresses.open.lock().unwrap().is_empty(), "an entry without a connection stayed");
    }

    #[test]
    fn an_ipv6_client_counts_by_its_64() {
        let addresses = addresses(1);
        let _first = addresses.admit("2001:db8::1".parse().unwrap()).unwrap();
        assert!(addresses.admit("2001:db8::ffff:1".parse().unwrap()).is_none());
        assert!(addresses.admit("2001:db8:0:1::1".parse().unwrap()).is_some());
    }

    #[test]
    fn an_exempt_network_is_not_counted() {
        let addresses = addresses(1);
        let held: Vec<_> = (0..5).map(|_| addresses.admit("127.0.0.1".parse().unwrap()).unwrap()).collect();
        assert_eq!(held.len(), 5);
    }
}
