//! Whatever both sides do, each gets what the other sent.

use proptest::prelude::*;

use super::*;
use pair::{KEY_UPDATE, KEY_UPDATE_REQUESTED};

#[derive(Debug, Clone)]
enum Act {
    /// The client writes so many octets.
    Theirs(usize),
    /// We do, in so many pieces.
    Ours(usize, usize),
    /// The client takes a new key, and may ask us to.
    Update(bool),
    /// The next so many octets arrive at our end.
    Arrive(usize),
    /// We have used our key so often that this many records are left.
    Age(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let size = prop_oneof![0..20_usize, 1000..1050_usize, 16_380..16_390_usize, 0..50_000_usize];
    prop_oneof![
        size.clone().prop_map(Act::Theirs),
        (size.clone(), 1..20_usize).prop_map(|(size, pieces)| Act::Ours(size, pieces)),
        any::<bool>().prop_map(Act::Update),
        size.prop_map(Act::Arrive),
        (1..4_u64).prop_map(Act::Age),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_arrives_is_what_was_sent(suite in prop::sample::select(&pair::SUITES[..]), acts in prop::collection::vec(act(), 1..40)) {
        let tls13 = pair::is_tls13(suite);
        let (mut ours, mut theirs) = pair::forging(suite);
        let sealed = ours.seal(b"");
        theirs.open(&sealed); // tickets
        let mut octet = 0_u8;
        let mut some = |length| -> Vec<u8> {
            (0..length).map(|_| { octet = octet.wrapping_mul(5).wrapping_add(1); octet }).collect()
        };
        let (mut wire, mut expected, mut arrived) = (Vec::new(), Vec::new(), Vec::new());
        let mut in_a_row = 0;
        for act in acts {
            match act {
                Act::Theirs(length) => {
                    let data = some(length);
                    for fragment in data.chunks(FRAGMENT_LIMIT) {
                        wire.extend(theirs.data(fragment));
                        in_a_row = 0;
                    }
                    expected.extend(data);
                }
                Act::Ours(length, pieces) => {
                    let data = some(length);
                    let cut: Vec<&[u8]> = data.chunks(length.div_ceil(pieces).max(1)).collect();
                    let sealed = ours.try_seal(&cut).unwrap();
                    let received: Vec<u8> = theirs.open(&sealed).into_iter()
                        .filter(|(content_type, _)| *content_type == pair::DATA)
                        .flat_map(|(_, content)| content).collect();
                    prop_assert!(received == data);
                }
                Act::Update(request) if tls13 && in_a_row < KEY_UPDATES_IN_A_ROW => {
                    wire.extend(theirs.update_key(if request { KEY_UPDATE_REQUESTED } else { KEY_UPDATE }));
                    in_a_row += 1;
                }
                Act::Age(left) if tls13 => {
                    let age = ours.records.limit() - left;
                    if age > ours.records.sent {
                        (ours.records.sent, theirs.received) = (age, age);
                    }
                }
                Act::Update(_) | Act::Age(_) => {}
                Act::Arrive(length) => {
                    let rest = wire.split_off(length.min(wire.len()));
                    arrived.extend(ours.receive(&std::mem::replace(&mut wire, rest)).unwrap().0);
                    prop_assert!(expected.starts_with(&arrived));
                }
            }
        }
        arrived.extend(ours.receive(&wire).unwrap().0);
        prop_assert!(arrived == expected);
        prop_assert!(ours.wire.is_empty());
    }
}
