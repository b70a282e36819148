//! Bodies on their way between sockets, in all framings, with and without a filter.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;

use super::filter::Filter;
use super::*;
use crate::http::h1::{
    CHUNK_END, ChunkedDecoder, ChunkedPiece, write_chunk_header, write_last_chunk,
};
use crate::net::{Timer, connect_tcp};
use crate::worker::body::Coming;
use crate::worker::min_rate::MinRate;
use crate::worker::sample::{refusing, run_worker, spawned};
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;
use crate::worker::wire::{Wire, nothing};

const PATIENCE: Duration = Duration::from_secs(60);

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked,
    UntilClose,
}

const FRAMINGS: [Framing; 3] = [Framing::Length, Framing::Chunked, Framing::UntilClose];

/// The body that [`Filter::Louder`] makes of another body.
pub fn louder(data: &[u8]) -> Vec<u8> {
    let double = |byte: &u8| {
        let times = if byte.is_ascii_digit() { 2 } else { 1 };
        std::iter::repeat_n(byte.to_ascii_uppercase(), times)
    };
    let mut out: Vec<u8> = data.iter().flat_map(double).collect();
    out.push(b'.');
    out
}

/// The body in the framing of its sender, in chunks of this size if the framing is chunked.
fn framed(data: &[u8], framing: Framing, size: usize) -> Vec<u8> {
    if framing != Framing::Chunked {
        return data.to_vec();
    }
    let mut out = Vec::new();
    for chunk in data.chunks(size) {
        write_chunk_header(&mut out, chunk.len());
        out.extend_from_slice(chunk);
        out.extend_from_slice(CHUNK_END);
    }
    write_last_chunk(&mut out, b"x-sum: 7\r\n");
    out
}

/// The body without the framing of its receiver, and its trailers.
pub fn unframed(mut sent: &[u8], is_chunked: bool) -> (Vec<u8>, Vec<u8>) {
    if !is_chunked {
        return (sent.to_vec(), Vec::new());
    }
    let (mut decoder, mut data) = (ChunkedDecoder::default(), Vec::new());
    loop {
        let (used, piece) = decoder.decode(sent).unwrap();
        match piece {
            ChunkedPiece::Data(range) => data.extend_from_slice(&sent[range]),
            ChunkedPiece::End => {
                assert_eq!(used, sent.len(), "nothing stands behind the end");
                return (data, decoder.trailers().to_vec());
            }
            ChunkedPiece::NeedMore => assert!(used > 0, "the body breaks off"),
        }
        sent = &sent[used..];
    }
}

fn body(framing: Framing, length: usize, is_chunked: bool, filters: Vec<Filter>) -> Body {
    Body {
        coming: match framing {
            Framing::Length => Coming::Length(length as u64),
            Framing::Chunked => Coming::Chunked(Box::default()),
            Framing::UntilClose => Coming::UntilClose,
        },
        chunked: is_chunked,
        most: u64::MAX,
        trailers: Vec::new(),
        rules: None,
        filters: Filters::new(filters),
        fill: None,
    }
}

/// The two ends of a connection over loopback: the worker's end, and the end of a peer on a thread of its own.
async fn connection() -> (Wire, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = connect_tcp(listener.local_addr().unwrap()).await.unwrap();
    (
        Wire::new(Stream::Socket(socket)),
        listener.accept().unwrap().0,
    )
}

/// Passes a body on that its sender sends in pieces of this size. The result is the bytes that the receiver got behind
/// the head.
async fn relayed(shard: &Rc<Shard>, sent: Vec<u8>, size: usize, mut body: Body) -> Vec<u8> {
    let ((from, mut sender), (to, mut receiver)) = (connection().await, connection().await);
    let sending = std::thread::spawn(move || {
        for piece in sent.chunks(size) {
            sender.write_all(piece).unwrap();
        }
        drop(sender);
    });
    let receiving = std::thread::spawn(move || {
        let mut got = Vec::new();
        receiver.read_to_end(&mut got).unwrap();
        got
    });
    let worker = shard.clone();
    spawned(async move {
        let (timer, counted) = (Timer::new(&worker.timers), Cell::new(0));
        let relay = Relay {
            source: Source {
                shard: &worker,
                supply: super::Supply::Wire(&from),
                timer: &timer,
                idle: &|| PATIENCE,
                is_slow: &|_, _| false,
            },
            sink: Sink {
                shard: &worker,
                stream: &to.stream,
                timer: &timer,
                stall: &|| PATIENCE,
                count: &|bytes| counted.set(counted.get() + bytes),
                rate: &MinRate::none(),
                is_cut: &|| false,
                has_sent: Cell::default(),
            },
        };
        let mut head = worker.blocks.take();
        head.extend(b"head:");
        let outcome = relay.run(&mut head, &mut body, nothing).await;
        assert_eq!(outcome, Ok(()));
        assert!(head.is_empty() && body.has_ended());
    })
    .await;
    sending.join().unwrap();
    let got = receiving.join().unwrap();
    assert_eq!(&got[..5], b"head:");
    got[5..].to_vec()
}

/// Passes one body on in each framing, with and without a filter.
fn passes(data: &[u8], size: usize, chunk: usize) {
    run_worker(
        &[refusing()],
        |_| (),
        async |shard| {
            for framing in FRAMINGS {
                for (is_chunked, is_filtered) in
                    [(false, false), (true, false), (false, true), (true, true)]
                {
                    let filters = if is_filtered {
                        vec![Filter::Louder]
                    } else {
                        Vec::new()
                    };
                    let body = body(framing, data.len(), is_chunked, filters);
                    let sent = framed(data, framing, chunk);
                    let got = relayed(&shard, sent, size, body).await;
                    let (got, trailers) = unframed(&got, is_chunked);
                    let expected = if is_filtered {
                        louder(data)
                    } else {
                        data.to_vec()
                    };
                    let name = format!("{framing:?}, chunked {is_chunked}, filtered {is_filtered}");
                    assert!(
                        got == expected,
                        "{name}: {} of {}",
                        got.len(),
                        expected.len()
                    );
                    let has_trailers = framing == Framing::Chunked && is_chunked;
                    let expected: &[u8] = if has_trailers { b"x-sum: 7\r\n" } else { b"" };
                    assert_eq!(trailers, expected, "{name}");
                }
            }
        },
    );
}

/// A body that is larger than all blocks and socket buffers together.
#[test]
fn a_large_body_passes_whole_in_every_framing() {
    let data: Vec<u8> = (0..3_000_000u32)
        .map(|at| b"ab1c"[at as usize % 4] ^ (at >> 20) as u8)
        .collect();
    passes(&data, 60_000, 50_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn a_body_passes_whole_however_it_comes(
        data in prop::collection::vec(b'0'..b'z', 1..40_000),
        size in 500usize..20_000,
        chunk in 1usize..20_000,
    ) {
        passes(&data, size, chunk);
    }
}

#[test]
fn filters_give_all_that_they_are_given_in_their_order() {
    let mut filters = Filters::new(vec![Filter::Louder, Filter::Louder]).unwrap();
    filters.pass(b"a1");
    assert_eq!(filters.given(), b"A1111");
    filters.note_taken(5);
    filters.pass(b"b");
    filters.note_taken(1);
    filters.end();
    assert_eq!(
        filters.given(),
        b"..",
        "the first one's end goes through the second"
    );
    assert!(Filters::new(Vec::new()).is_none());
}
