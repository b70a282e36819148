//! Both ends of the line in one process.

use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::thread;

use super::*;
use crate::base::addresses::ListenAddr;

fn listeners(count: usize) -> Vec<BoundListener> {
    let open = || TcpListener::bind("127.0.0.1:0").unwrap();
    (0..count)
        .map(|_| BoundListener::adopt(open()).unwrap())
        .collect()
}

#[test]
fn words_arrive_and_the_end_is_noticed() {
    let (one, other) = HandoverLine::pair().unwrap();
    one.say("ready").unwrap();
    one.say(&"é".repeat(limits::HANDOVER_BYTES)).unwrap();
    assert_eq!(other.hear().unwrap().as_deref(), Some("ready"));
    let long = other.hear().unwrap().unwrap();
    assert_eq!(long, "é".repeat(limits::HANDOVER_BYTES / 2));
    drop(one);
    assert_eq!(other.hear().unwrap(), None);
    assert!(other.say("anybody?").is_err());
}

#[test]
fn more_sockets_than_fit_one_message_arrive_in_order() {
    let (one, other) = HandoverLine::pair().unwrap();
    let path = std::env::temp_dir().join(format!("handover-{}", std::process::id()));
    let unix = UnixListener::bind(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let mut sent = listeners(2 * limits::HANDOVER_DESCRIPTORS + 1);
    sent.insert(7, BoundListener::adopt(unix).unwrap());
    let words = [
        "proxy",
        "admin-tls",
        "",
        "test-server",
        "proxy-tls",
        "admin",
    ];
    let purposes = words.iter().cycle().map(|word| purpose_of(word));
    let sent: Vec<Passed> = sent.into_iter().zip(purposes).collect();
    let told = |(socket, purpose): &Passed| (socket.addr.clone(), *purpose);
    let expected: Vec<_> = sent.iter().map(told).collect();
    let blob = |name: &str, bytes: usize| Blob {
        name: name.to_owned(),
        version: 7,
        bytes: vec![1; bytes],
    };
    let blobs = vec![blob("one", 1 << 20), blob("empty", 0)];
    let handed = Handed {
        sockets: sent,
        blobs: blobs.clone(),
        lock: Some(std::fs::File::open("/dev/null").unwrap().into()),
        ..Handed::default()
    };
    let sender = thread::spawn(move || {
        one.hand_sockets(&handed.sockets)?;
        one.hand_rest(&handed)
    });
    let received = other.take().unwrap().sockets;
    let received_rest = other.take().unwrap();
    assert_eq!(received_rest.blobs, blobs);
    assert!(received_rest.lock.is_some());
    sender.join().unwrap().unwrap();
    let actual: Vec<_> = received.iter().map(told).collect();
    assert_eq!(actual, expected);
    assert_eq!(actual[7].0, ListenAddr::Unix(path));
    assert_ne!(actual[1].1, actual[0].1);
    let ListenAddr::Tcp(last) = &actual.last().unwrap().0 else {
        panic!("the last one is a TCP socket");
    };
    TcpStream::connect(last)
        .expect("it still listens, although the sender's descriptors are closed");
}

#[test]
fn what_another_version_says_of_a_socket_is_not_needed() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let admin = purpose_of("admin");
    assert!(admin.is_some());
    for (text, expected) in [("", None), ("\tadmin", admin), ("\tunheard-of", None)] {
        let (one, other) = HandoverLine::pair().unwrap();
        one.send(&format!("{addr}{text}\n"), &[socket.as_fd()])
            .unwrap();
        one.say(NO_MORE).unwrap();
        let received = other.take().unwrap().sockets;
        assert_eq!(received[0].1, expected, "{text:?}");
    }
}

#[test]
fn what_comes_is_checked() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let right = format!("{}\n", socket.local_addr().unwrap());
    let connected = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
    let rows: [(&str, &[BorrowedFd<'_>]); 4] = [
        ("127.0.0.1:1\n", &[socket.as_fd()]),
        (&right, &[]),
        (&right, &[socket.as_fd(), socket.as_fd()]),
        (&right, &[connected.as_fd()]),
    ];
    for (text, sockets) in rows {
        let (one, other) = HandoverLine::pair().unwrap();
        one.send(text, sockets).unwrap();
        one.say(NO_MORE).unwrap();
        assert!(other.take().is_err(), "{text:?}");
    }
    let (one, other) = HandoverLine::pair().unwrap();
    one.send(&right, &[socket.as_fd()]).unwrap();
    drop(one);
    let error = other.take().unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::UnexpectedEof,
        "the list has no end"
    );
}

#[test]
fn a_blob_that_cannot_be_read_spoils_nothing_else() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let good = Blob {
        name: "good".to_owned(),
        version: 1,
        bytes: b"content".to_vec(),
    };
    let content = good.to_descriptor().unwrap();
    let (one, other) = HandoverLine::pair().unwrap();
    one.send("blob\twithout content\t1\n", &[]).unwrap();
    one.send("blob\ta socket\t1\n", &[socket.as_fd()]).unwrap();
    one.send("blob\tno version\tx\n", &[content.as_fd()])
        .unwrap();
    for _ in 0..=limits::HANDOVER_BLOBS {
        one.send("blob\tgood\t1\n", &[content.as_fd()]).unwrap();
    }
    one.send(&format!("{addr}\n"), &[socket.as_fd()]).unwrap();
    one.say(NO_MORE).unwrap();
    let received = other.take().unwrap();
    assert_eq!(received.blobs, vec![good; limits::HANDOVER_BLOBS]);
    assert_eq!(received.unreadable.len(), 4);
    assert_eq!(received.sockets.len(), 1);
}

#[test]
fn blobs_beyond_the_bytes_of_all_together_are_ignored() {
    let blob = |name: &str, bytes: u64| Blob {
        name: name.to_owned(),
        version: 1,
        bytes: vec![0; bytes as usize],
    };
    let large = blob("large", limits::HANDOVER_BLOB_BYTES).to_descriptor();
    let large = large.unwrap();
    let small = blob("small", 1).to_descriptor().unwrap();
    let (one, other) = HandoverLine::pair().unwrap();
    let fit = limits::HANDOVER_ALL_BLOBS_BYTES / limits::HANDOVER_BLOB_BYTES;
    one.send("blob\tsmall\t1\n", &[small.as_fd()]).unwrap();
    for _ in 0..fit {
        one.send("blob\tlarge\t1\n", &[large.as_fd()]).unwrap();
    }
    one.send("blob\tsmall\t1\n", &[small.as_fd()]).unwrap();
    one.say(NO_MORE).unwrap();
    let received = other.take().unwrap();
    let names: Vec<&str> = received.blobs.iter().map(|blob| &*blob.name).collect();
    let mut expected = vec!["large"; fit as usize + 1];
    expected[0] = "small";
    expected[fit as usize] = "small";
    assert_eq!(
        names, expected,
        "the last large one does not fit, a small one does"
    );
    assert_eq!(received.unreadable.len(), 1);
}

#[test]
fn a_list_without_an_end_is_not_read_for_ever() {
    let (one, other) = HandoverLine::pair().unwrap();
    let sender = thread::spawn(move || while one.send("blob\tname\t1\n", &[]).is_ok() {});
    assert!(other.take().is_err());
    drop(other);
    sender.join().unwrap();
}

#[test]
fn descriptors_with_a_plain_word_are_refused() {
    let (one, other) = HandoverLine::pair().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    one.send("ready", &[socket.as_fd()]).unwrap();
    assert!(other.hear().is_err());
}
