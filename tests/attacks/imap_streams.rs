//! The model's clients in front of the real Dovecot.

use crate::imap_model::{Dice, stream};
use crate::support::gate::gate;
use crate::support::wire::Offer;

#[test]
fn a_real_dovecot_agrees_with_the_gate_on_where_commands_end() {
    let (gate, _shown) = gate();
    let config = Offer::default().config();
    let mut judged = 0;
    for seed in 0..80 {
        let mut dice = Dice(seed);
        let octets = stream(&mut dice);
        let log = gate.log.tail();
        let mut wire = gate.secured("imaps", &config);
        let mut rest = octets.as_slice();
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(1 + dice.roll(rest.len()));
            // The session may be over already.
            if wire.try_send(piece).is_err() {
                break;
            }
            rest = left;
        }
        // Whoever waits for an answer that nobody owes waits here in vain.
        wire.finish();
        let said = wire.rest();
        let port = wire.port;
        drop(wire);
        let record = log.wait_for(&["event=ended", "service=imaps ", &format!("client_port={port} ")]);
        let what = format!("seed {seed}: {}: {said}", octets.escape_ascii());
        assert!(!record.contains("outcome=backend_error") && !record.contains("outcome=timeout"), "{what}\n{record}");
        assert!(!said.contains("STARTTLS completed") && !said.contains("Begin TLS"), "{what}");
        judged += usize::from(said.contains(" BAD ") || said.contains(" NO ") || said.contains(" OK "));
    }
    assert!(judged > 40, "{judged}");
}
