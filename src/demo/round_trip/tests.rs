use super::*;

const RECEIVED: &str = "Received: from client.demo.example ([127.0.0.1])\r\n\
    \t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)\r\n\
    \t key-exchange X25519MLKEM768 server-signature ECDSA (P-256) server-digest SHA256)\r\n\
    \t(No client certificate requested)\r\n\
    \tby mail.demo.example (Sealgate) with ESMTPS id abc.1\r\n\
    \tfor <demo@demo.example> tls TLS_AES_256_GCM_SHA384 group X25519MLKEM768;\r\n\
    \tSat, 21 Nov 2026 20:36:00 +0000\r\n";

fn service(name: &str) -> &'static Service {
    Service::by_name(name).unwrap()
}

fn sent() -> (Sent, Vec<Leg>) {
    let (id, content) = mail(service("smtp"), 0);
    let leg = Leg {
        listener: "smtp",
        address: "127.0.0.1:2525".parse().unwrap(),
        tls: Some(Seen {
            tls_version: "TLSv1.3",
            cipher: "TLS_AES_256_GCM_SHA384".to_owned(),
            group: "X25519MLKEM768",
            signature: Some("ecdsa_secp256r1_sha256"),
            resumed: false,
        }),
        received: None,
        error: None,
    };
    (Sent { leg: 0, id, content, authenticated: false }, vec![leg])
}

#[test]
fn a_mail_that_came_back_whole_behind_a_true_received_field_passes() {
    let (sent, mut legs) = sent();
    let mail = format!("{RECEIVED}{}", sent.content);
    compare(&sent, "imap", &[Bytes::from("Subject: another\r\n\r\n"), Bytes::from(mail)], &mut legs);
    assert_eq!(legs[0].error, None);
    assert_eq!(legs[0].received.as_deref(), Some(RECEIVED));
}

#[test]
fn every_way_to_come_back_wrong_is_an_error() {
    let (reference, _) = sent();
    let content = reference.content.as_str();
    let cases = [
        (String::new(), "did not come back through imaps"),
        (content.to_owned(), "without a Received field"),
        (format!("{RECEIVED}{content}more"), "is not the one that was sent"),
        (format!("{RECEIVED}{}", content.replace("\r\n.\r\n", "\r\n..\r\n")), "is not the one that was sent"),
        (format!("{RECEIVED}{}", content.replace('ü', "u")), "is not the one that was sent"),
        (format!("{}{content}", RECEIVED.replace("TLSv1.3", "TLSv1.2")), "using TLSv1.3"),
        (format!("X-First: 1\r\n{RECEIVED}{content}"), "without a Received field"),
    ];
    for (mail, expected) in cases {
        let (_, mut legs) = sent();
        compare(&reference, "imaps", &[Bytes::from(mail)], &mut legs);
        let error = legs[0].error.as_deref().unwrap_or_default();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn the_plans_cover_every_service() {
    let planned: Vec<&str> = SMTP.iter().map(|plan| plan.service).chain(IMAP.iter().map(|(name, _)| *name)).collect();
    let services: Vec<&str> = crate::protocol::SERVICES.iter().map(|service| service.name).collect();
    assert_eq!(planned, services);
}

#[test]
fn the_mail_holds_what_is_easily_lost() {
    let (_, content) = mail(service("submission"), 3);
    for part in ["\r\n.a line", "\r\n.\r\n", "Grüße"] {
        assert!(content.contains(part), "{part}");
    }
    let longest = content.split("\r\n").map(str::len).max();
    assert!(longest.is_some_and(|longest| (990..=998).contains(&longest)), "{longest:?}");
    assert!(content.ends_with("\r\n"));
}

#[tokio::test]
async fn a_round_trip_that_cannot_be_made_is_not_ok() {
    // Nobody listens on the port that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listeners: Vec<_> = crate::protocol::SERVICES.iter().map(|service| (service, port)).collect();
    let mut roots = RootCertStore::empty();
    let made = crate::tls::self_signed::self_signed("mail.demo.example").unwrap();
    let der = rustls::pki_types::pem::PemObject::from_pem_slice(made.ecdsa.chain.as_bytes()).unwrap();
    roots.add(der).unwrap();
    let report = round_trip(&listeners, &roots).await;
    assert!(!report.ok);
    assert_eq!(report.legs.len(), 6);
    for leg in &report.legs {
        assert!(leg.error.as_deref().is_some_and(|error| error.starts_with("connecting: ")), "{leg:?}");
    }
    assert!(!round_trip(&[], &roots).await.ok, "nothing tried is nothing proved");
}
