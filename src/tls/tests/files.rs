//! Files of certificates and keys: which are read, which are refused, and which are warned of.

use super::*;

#[test]
fn pairs_that_cannot_work_table() {
    let folder = Folder::new("broken");
    let authority = Authority::new("authority");
    let (cert, key) = authority.issue(&["a.example"], |_| {});
    let (other_cert, other_key) = authority.issue(&["b.example"], |_| {});
    let ca = authority.0.pem();
    let both = |one: &str, two: &str| format!("{one}{two}");
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let bad_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let bad_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let rows: [(String, &str, Part, &str); 10] = [
        (String::new(), &key, Part::Cert, "holds no certificate"),
        (key.clone(), &key, Part::Cert, "holds no certificate"),
        (bad_der.to_owned(), &key, Part::Cert, "is no certificate"),
        (
            "-----BEGIN CERTIFICATE-----\nAA".to_owned(),
            &key,
            Part::Cert,
            "is not PEM",
        ),
        (
            both(&cert, &other_cert),
            &key,
            Part::Cert,
            "is no chain: certificate 2",
        ),
        (ca.repeat(11), &key, Part::Cert, "holds 11 certificates"),
        (
            cert.clone(),
            &other_key,
            Part::Key,
            "is not the key of the certificate",
        ),
        (cert.clone(), "", Part::Key, "holds no private key"),
        (cert.clone(), encrypted, Part::Key, "holds an encrypted key"),
        (cert.clone(), bad_key, Part::Key, "cannot be used"),
    ];
    for (cert, key, part, expected) in rows {
        let files = PairFiles {
            cert: folder.write("x.crt", &cert),
            key: folder.write("x.key", key),
            ocsp: None,
            names: Vec::new(),
            must_be_for: None,
        };
        let fault = Pair::load(&files).unwrap_err();
        assert_eq!(fault.part, part, "{fault}");
        assert!(fault.text.starts_with(expected), "{fault}");
    }
    let mut files = PairFiles {
        cert: folder.write("x.crt", &both(&cert, &ca)),
        key: folder.write("x.key", &both(&ca, &key)),
        ocsp: Some(folder.write("x.ocsp", "no")),
        names: vec!["c.example".to_owned()],
        must_be_for: None,
    };
    let fault = Pair::load(&files).unwrap_err();
    assert_eq!(
        (fault.part, fault.text.as_str()),
        (Part::Ocsp, "is no OCSP response (DER)")
    );
    let response = folder.0.join("x.ocsp");
    fs::write(&response, [0x30, 0x03, 0x0a, 0x01, 0x06]).unwrap();
    let fault = Pair::load(&files).unwrap_err();
    assert_eq!(fault.text, "is an OCSP response with the error status 6");
    let whole = ocsp::tests::response(&[Some("20300101000000Z")], false);
    fs::write(&response, &whole).unwrap();
    let pair = Pair::load(&files).unwrap();
    assert_eq!(pair.names, ["c.example"]);
    assert_eq!(pair.certified.ocsp, Some(whole));
    let end = 1_893_456_000;
    assert_eq!(pair.shown_at(end - 1).ocsp, pair.certified.ocsp);
    assert_eq!(pair.shown_at(end).ocsp, None, "it is superseded");
    assert!(pair.is_shown_as(pair.shown_at(end)) && pair.is_shown_as(pair.shown_at(0)));
    let told = pair.warnings(end);
    assert!(
        told.iter()
            .any(|(part, text)| *part == Part::Ocsp && text.contains("superseded"))
    );
    files.must_be_for = Some("c.example".to_owned());
    assert!(Pair::load(&files).is_ok());
    files.must_be_for = Some("d.example".to_owned());
    let fault = Pair::load(&files).unwrap_err();
    assert_eq!(fault.text, "is for other names: c.example");
    files.must_be_for = None;
    files.ocsp = Some(PathBuf::from("/nowhere"));
    let text = Pair::load(&files).unwrap_err().to_string();
    assert!(
        text.starts_with("/nowhere cannot be read: No such file"),
        "{text}"
    );
}

#[test]
fn warnings_table() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("warnings");
    let authority = Authority::new("authority");
    let now = SystemTime::now();
    let day = Duration::from_secs(86_400);
    let rows: [(SystemTime, SystemTime, &[&str]); 5] = [
        (now - day, now + 15 * day, &[]),
        (now - day, now + 14 * day - day / 2, &["expires in 13 days"]),
        (now - day, now + day / 2, &["expires in 0 days"]),
        (now - 9 * day, now - 2 * day, &["has expired 2 days ago"]),
        (
            now + day / 2,
            now + 90 * day,
            &["is not valid yet; its time begins within 1 days"],
        ),
    ];
    for (from, to, expected) in rows {
        let (cert, key) = authority.issue(&["a.example"], |params| {
            params.not_before = from.into();
            params.not_after = to.into();
        });
        let files = PairFiles {
            cert: folder.write("a.crt", &cert),
            key: folder.write("a.key", &key),
            ocsp: None,
            names: Vec::new(),
            must_be_for: None,
        };
        let set_mode = |mode| {
            fs::set_permissions(&files.key, fs::Permissions::from_mode(mode)).unwrap();
        };
        set_mode(0o600);
        let warned = || Pair::load(&files).unwrap().warnings(unix_secs(now));
        let texts: Vec<String> = warned().into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, expected);
        set_mode(0o644);
        assert_eq!(warned().last().map(|(part, _)| *part), Some(Part::Key));
    }
}

#[test]
fn keys_of_every_form_are_read() {
    use base64::Engine;
    // A PKCS#8 key is another form's with a header in front.
    let rows = [
        ("PRIVATE KEY", &rcgen::PKCS_ECDSA_P256_SHA256, 0),
        ("EC PRIVATE KEY", &rcgen::PKCS_ECDSA_P256_SHA256, 29),
        ("RSA PRIVATE KEY", &rcgen::PKCS_RSA_SHA256, 26),
    ];
    for (label, kind, header) in rows {
        let der = KeyPair::generate_for(kind).unwrap().serialize_der();
        let base64 = base64::engine::general_purpose::STANDARD.encode(&der[header..]);
        let text = format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n");
        let key = pem::private_key(text.as_bytes()).unwrap();
        let loaded = provider().key_provider.load_private_key(key);
        assert!(loaded.is_ok(), "{label}: {loaded:?}");
    }
}
