use super::debt::WINDOW;
use super::table::MOST;
use super::*;

const SECOND: u64 = 1_000_000_000;

/// Connections at a time; sessions, handshakes and logins a minute, 0 for no limit.
fn limits(connections: usize, [sessions, handshakes, logins]: [u32; 3]) -> Arc<Limits> {
    Arc::new(Limits::new(&config::Limits {
        connections_per_address: connections.try_into().unwrap(),
        xclient_connections_per_address: 2.try_into().unwrap(),
        sessions_per_minute: NonZeroU32::new(sessions),
        failed_handshakes_per_minute: NonZeroU32::new(handshakes),
        failed_logins_per_minute: NonZeroU32::new(logins),
        exempt: vec!["127.0.0.0/8".parse().unwrap()],
        errors: 20,
    }))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn why(admitted: Result<Admitted, Refused>) -> Option<TooMany> {
    admitted.err().map(|refused| refused.why)
}

#[test]
fn a_full_network_is_refused_until_a_place_is_free() {
    let limits = limits(1, [0; 3]);
    let first = limits.admit(ip("203.0.113.5"), ClientIdentity::ProxyV2).unwrap();
    assert_eq!(why(limits.admit(ip("203.0.113.5"), ClientIdentity::ProxyV2)), Some(TooMany::Connections));
    assert!(limits.admit(ip("203.0.113.6"), ClientIdentity::ProxyV2).is_ok());
    drop(first);
    assert!(limits.admit(ip("203.0.113.5"), ClientIdentity::ProxyV2).is_ok());
    assert!(limits.state().open.is_empty(), "an entry without a connection stayed");
}

#[test]
fn a_network_has_fewer_places_where_the_backend_cannot_count() {
    let limits = limits(4, [0; 3]);
    let enter = |client: &str, identity| limits.admit(ip(client), identity);
    let told = [(); 2].map(|()| enter("203.0.113.5", ClientIdentity::Xclient).unwrap());
    assert_eq!(why(enter("203.0.113.5", ClientIdentity::Xclient)), Some(TooMany::Connections));
    assert!(enter("203.0.113.6", ClientIdentity::Xclient).is_ok());
    // These are among all of its places.
    let others = [(); 2].map(|()| enter("203.0.113.5", ClientIdentity::ImapId).unwrap());
    assert_eq!(why(enter("203.0.113.5", ClientIdentity::ImapId)), Some(TooMany::Connections));
    drop(told);
    let again = enter("203.0.113.5", ClientIdentity::Xclient).unwrap();
    drop((others, again));
    assert!(limits.state().open.is_empty(), "an entry without a connection stayed");
}

#[test]
fn an_ipv6_client_counts_by_its_64() {
    let limits = limits(1, [0, 0, 2]);
    let _first = limits.admit(ip("2001:db8::1"), ClientIdentity::ProxyV2).unwrap();
    assert!(limits.admit(ip("2001:db8::ffff:1"), ClientIdentity::ProxyV2).is_err());
    assert!(limits.admit(ip("2001:db8:0:1::1"), ClientIdentity::ProxyV2).is_ok());
    // Guessing from one address after the other of the same /64.
    limits.login_failed(ip("2001:db8:0:2::1"));
    limits.login_failed(ip("2001:db8:0:2::2"));
    assert_eq!(why(limits.admit(ip("2001:db8:0:2::3"), ClientIdentity::ProxyV2)), Some(TooMany::Logins));
}

#[test]
fn an_exempt_network_is_not_counted() {
    let limits = limits(1, [1; 3]);
    let client = ip("127.0.0.1");
    for _ in 0..5 {
        assert_eq!(limits.login_failed(client), Setback::default());
        limits.handshake_failed(client);
        assert!(limits.tells(client));
    }
    let held: Vec<_> = (0..5).map(|_| limits.admit(client, ClientIdentity::ProxyV2).unwrap()).collect();
    assert!(held.iter().all(|admitted| admitted.delay.is_zero()));
    assert_eq!(limits.state().past.len(), 0);
}

#[test]
fn sessions_come_back_with_time_and_other_networks_have_their_own() {
    let limits = limits(100, [60, 0, 0]);
    let client = ip("203.0.113.5");
    for _ in 0..60 {
        assert!(limits.admit_at(client, ClientIdentity::ProxyV2, 0).is_ok());
    }
    assert_eq!(why(limits.admit_at(client, ClientIdentity::ProxyV2, 0)), Some(TooMany::Sessions));
    assert!(limits.admit_at(ip("203.0.113.6"), ClientIdentity::ProxyV2, 0).is_ok());
    // Who goes on all the same has one a second, no more and no less.
    let admitted =
        (0..10_000).filter(|n| limits.admit_at(client, ClientIdentity::ProxyV2, n * SECOND / 100).is_ok()).count();
    assert_eq!(admitted, 99);
}

#[test]
fn an_office_that_comes_back_after_an_outage_is_let_in() {
    let limits = Arc::new(Limits::new(
        &config::Config::parse(
            "hostname = 'a.b'\n[[tls.certificate]]\nchain = 'a'\nkey = 'b'\n\
         [[listener]]\nservice = 'imaps'\nbackend = '127.0.0.1:10143'\nclient_identity = 'none'",
            std::path::Path::new("x.toml"),
        )
        .unwrap()
        .limits,
    ));
    // A hundred people behind one address, five connections each, all within a second; one has an old password, and his
    // program tries it over and over.
    let client = ip("203.0.113.5");
    let held: Vec<_> =
        (0..500).map(|n| limits.admit_at(client, ClientIdentity::ProxyV2, n * SECOND / 500).unwrap()).collect();
    assert!(held.iter().all(|admitted| admitted.delay.is_zero()));
    for n in 0..500 {
        limits.login_succeeded(client);
        if n % 20 == 0 {
            assert_eq!(limits.login_failed_at(client, SECOND), Setback::default(), "{n}");
        }
    }
    drop(held);
    assert!(limits.admit_at(client, ClientIdentity::ProxyV2, SECOND).unwrap().delay.is_zero());
}

#[test]
fn failed_logins_are_delayed_then_refused_then_forgotten() {
    let limits = limits(10, [0, 0, 6]);
    let client = ip("203.0.113.5");
    let setbacks: Vec<Setback> = (0..6).map(|_| limits.login_failed_at(client, 0)).collect();
    let delays: Vec<u64> = setbacks.iter().map(|setback| setback.delay.as_secs()).collect();
    assert_eq!(delays, [0, 0, 0, 1, 2, 4]);
    assert!(setbacks.iter().all(|setback| !setback.is_last), "{setbacks:?}");
    assert_eq!(why(limits.admit_at(client, ClientIdentity::ProxyV2, 0)), Some(TooMany::Logins));
    assert!(limits.admit_at(ip("203.0.113.6"), ClientIdentity::ProxyV2, 0).is_ok());
    // One of six comes back every ten seconds; the next session waits before it may begin.
    assert_eq!(why(limits.admit_at(client, ClientIdentity::ProxyV2, 10 * SECOND - 1)), Some(TooMany::Logins));
    assert_eq!(limits.admit_at(client, ClientIdentity::ProxyV2, 10 * SECOND).unwrap().delay.as_secs(), 2);
    assert_eq!(limits.admit_at(client, ClientIdentity::ProxyV2, 30 * SECOND).unwrap().delay.as_secs(), 0);
}

#[test]
fn nobody_tries_another_login_once_the_share_is_used_up() {
    let limits = limits(10, [0, 0, 2]);
    let client = ip("203.0.113.5");
    let barred = |client, now| {
        let [begun, tried] =
            [limits.login_begun_at(client, now), limits.login_tried_at(client, &mut None, now)].map(|it| it.is_barred);
        assert_eq!(begun, tried);
        tried
    };
    assert!(!barred(client, 0));
    limits.login_failed_at(client, 0);
    assert!(!barred(client, 0));
    limits.login_failed_at(client, 0);
    assert!(barred(client, 0) && !barred(ip("203.0.113.6"), 0));
    // To try is no failure.
    assert!(barred(client, 30 * SECOND - 1) && !barred(client, 30 * SECOND) && !barred(client, 30 * SECOND));
}

#[test]
fn as_many_logins_are_judged_at_once_as_may_fail() {
    let limits = limits(10, [0, 0, 3]);
    let client = ip("203.0.113.5");
    let mut trials: Vec<Option<Trial>> = (0..4).map(|_| None).collect();
    let waits = |trial: &mut Option<Trial>, now| limits.login_tried_at(client, trial, now).must_wait;
    let waiting: Vec<bool> = trials.iter_mut().map(|trial| waits(trial, 0)).collect();
    assert_eq!(waiting, [false, false, false, true]);
    assert!(limits.login_tried(client, &mut None).delay > Duration::ZERO, "it would ask again at once");
    assert!(trials.iter_mut().take(3).all(|trial| !waits(trial, 0)), "more of a login is no other one");
    assert!(!limits.login_tried_at(ip("203.0.113.6"), &mut None, 0).must_wait);

    // A failure takes the place of its login; a login that comes to nothing leaves it.
    limits.login_failed_at(client, 0);
    trials[0] = None;
    assert!(waits(&mut trials[3], 0));
    trials[1] = None;
    assert!(!waits(&mut trials[3], 0) && waits(&mut trials[1], 0));
    limits.login_failed_at(client, 0);
    limits.login_failed_at(client, 0);
    assert!(limits.login_tried_at(client, &mut trials[1], 0).is_barred);

    // What failed is forgotten with time, what is judged is not: two are.
    assert!(waits(&mut trials[1], 20 * SECOND) && waits(&mut trials[1], 40 * SECOND));
    assert!(!waits(&mut trials[1], 60 * SECOND));
    drop(trials);
    assert!(limits.state().open.is_empty(), "an entry without a login stayed");
}

#[test]
fn without_a_limit_any_number_of_logins_is_judged_at_once() {
    for (limits, client) in [(limits(1, [0; 3]), "203.0.113.5"), (limits(1, [1; 3]), "127.0.0.1")] {
        let mut trials: Vec<Option<Trial>> = (0..500).map(|_| None).collect();
        for trial in &mut trials {
            assert_eq!(limits.login_tried(ip(client), trial), Setback::default());
        }
        assert!(limits.state().open.is_empty());
    }
}

#[test]
fn a_login_that_succeeds_makes_up_for_one_that_failed() {
    let limits = limits(10, [0, 0, 2]);
    let client = ip("203.0.113.5");
    limits.login_succeeded(client);
    for _ in 0..2 {
        limits.login_failed_at(client, 0);
    }
    assert!(limits.admit_at(client, ClientIdentity::ProxyV2, 0).is_err(), "successes are not saved up");
    limits.login_succeeded(client);
    assert!(limits.admit_at(client, ClientIdentity::ProxyV2, 0).is_ok());
    limits.login_failed_at(client, 0);
    assert!(limits.admit_at(client, ClientIdentity::ProxyV2, 0).is_err(), "one for one");
}

#[test]
fn failed_handshakes_delay_then_refuse_and_refusals_count_as_sessions() {
    let limits = limits(10, [8, 2, 0]);
    let client = ip("203.0.113.5");
    limits.handshake_failed(client);
    assert!(limits.admit(client, ClientIdentity::ProxyV2).unwrap().delay.is_zero());
    limits.handshake_failed(client);
    for _ in 0..7 {
        assert_eq!(why(limits.admit(client, ClientIdentity::ProxyV2)), Some(TooMany::Handshakes));
    }
    assert_eq!(why(limits.admit(client, ClientIdentity::ProxyV2)), Some(TooMany::Sessions));
}

#[test]
fn one_refusal_a_minute_is_logged_and_the_others_are_counted() {
    let limits = limits(1, [1, 0, 0]);
    let (client, other) = (ip("203.0.113.5"), ip("2001:db8::1"));
    let told = |client, now| limits.admit_at(client, ClientIdentity::ProxyV2, now).err().map(|refused| refused.told);
    assert_eq!([told(client, 0), told(other, 0)], [None, None]);
    assert_eq!(told(client, 1), Some(true));
    assert_eq!([told(client, 2), told(client, 3), told(other, 3)], [Some(false), Some(false), Some(true)]);
    let untold = limits.state().past.settle(4);
    assert_eq!(untold, Untold { networks: vec![(Network(client), 2)], others: 0 });
    assert_eq!(limits.state().past.settle(5), Untold::default(), "once");
    // A minute later a session is let in again, and the next refusal is logged.
    assert_eq!([told(client, WINDOW), told(client, WINDOW + 2)], [None, Some(true)]);
    assert_eq!(Network::of(other).to_string(), "2001:db8::/64");
}

#[test]
fn a_million_addresses_take_no_more_memory_and_do_not_wash_away_who_failed() {
    let limits = limits(1, [1000, 60, 20]);
    let guesser = ip("198.51.100.1");
    for _ in 0..20 {
        limits.login_failed_at(guesser, 0);
    }
    // Within a second: none of them is forgotten by itself.
    let step = SECOND / 1_000_000 / 50;
    for n in 0..1_000_000_u64 {
        let address = IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) | (u128::from(n) << 64) | 1));
        drop(limits.admit_at(address, ClientIdentity::ProxyV2, n * step).unwrap());
    }
    {
        let past = &mut limits.state().past;
        assert!(past.len() <= MOST, "{}", past.len());
        assert!(past.capacity() <= 2 * MOST, "{}", past.capacity());
    }
    assert_eq!(why(limits.admit_at(guesser, ClientIdentity::ProxyV2, SECOND)), Some(TooMany::Logins));
    // And with time all of it is given back.
    limits.state().past.settle(3 * WINDOW);
    let past = &limits.state().past;
    assert_eq!((past.len(), past.capacity()), (0, 0));
    println!("an entry: {} octets", size_of::<(Network, super::table::Past)>());
}

#[test]
fn a_failure_beyond_the_share_is_the_session_s_last() {
    let limits = limits(10, [0, 0, 2]);
    let last: Vec<bool> = (0..4).map(|_| limits.login_failed_at(ip("203.0.113.5"), 0).is_last).collect();
    assert_eq!(last, [false, false, true, true]);
}

#[test]
fn what_was_refused_long_ago_and_not_told_yet_is_told() {
    let limits = limits(1, [0; 3]);
    let mut state = limits.state();
    let network = |n: usize| Network(IpAddr::V4(u32::try_from(n).unwrap().into()));
    let past = state.past.of(network(0), 0);
    assert!(past.tell(0) && !past.tell(0));
    // Others fill the table much later; none of them matters, nor would this one but for that.
    for n in 1..=2 * MOST {
        state.past.of(network(n), 2 * WINDOW);
    }
    assert!(state.past.len() <= MOST);
    assert_eq!(state.past.settle(2 * WINDOW), Untold { networks: vec![(network(0), 1)], others: 0 });
}

#[test]
fn refusals_of_networks_that_are_forgotten_are_still_counted() {
    let limits = limits(1, [0; 3]);
    let mut state = limits.state();
    let network = |n: usize| Network(IpAddr::V4(u32::try_from(n).unwrap().into()));
    for n in 0..MOST {
        let past = state.past.of(network(n), 0);
        assert!(past.tell(0) && !past.tell(0));
    }
    state.past.of(network(MOST), 0);
    assert_eq!(state.past.len(), MOST - MOST / 4 + 1);
    let untold = state.past.settle(0);
    assert_eq!(untold.others, u64::try_from(MOST / 4).unwrap());
    assert_eq!(untold.networks.len(), MOST - MOST / 4);
}
