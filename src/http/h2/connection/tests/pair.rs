//! A client and a server, both of this code, joined by pipes that deliver in any portions and any order of events:
//! everything arrives, and nobody holds more than its windows.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// The plan of one exchange: the bytes that each side sends.
#[derive(Clone, Debug)]
struct Plan {
    request_bytes: usize,
    response_bytes: usize,
    trailers: bool,
    priority: &'static str,
}

/// The next move of a run.
#[derive(Clone, Copy, Debug)]
enum Move {
    /// So many bytes reach the server or the client.
    Deliver(Role, usize),
    /// A side gives back what it holds.
    Release(Role),
    /// A side sends what it can.
    Send(Role),
    Expire(Role),
}

/// A message on its way out.
struct Outgoing {
    body: Vec<u8>,
    sent: usize,
    trailers: bool,
    done: bool,
}

/// A message on its way in.
#[derive(Default)]
struct Incoming {
    has_head: bool,
    body: Vec<u8>,
    trailers: String,
    ended: bool,
    /// Bytes not released.
    held: usize,
}

struct Side {
    connection: H2Connection,
    /// Bytes under way to it.
    pipe: Vec<u8>,
    outgoing: BTreeMap<StreamId, Outgoing>,
    incoming: BTreeMap<StreamId, Incoming>,
    local: LocalSettings,
    /// As a client: exchanges not begun. As a server: all, by number.
    plans: Vec<Plan>,
}

/// Bytes that tell their place.
fn body(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 251 + at + seed) as u8).collect()
}

impl Side {
    fn new(role: Role, local: &LocalSettings, plans: &[Plan]) -> Side {
        Side {
            connection: H2Connection::new(role, local.clone(), Micros(0)),
            pipe: Vec::new(),
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
            local: local.clone(),
            plans: plans.to_vec(),
        }
    }

    /// Receives the next `count` bytes of its pipe.
    fn receive(&mut self, count: usize) {
        let rest = self.pipe.split_off(count.min(self.pipe.len()));
        let bytes = std::mem::replace(&mut self.pipe, rest);
        let mut used = 0;
        loop {
            let mut answers = None;
            let (step, event) = self.connection.receive(&bytes[used..], Micros(0)).unwrap();
            used += step;
            match event {
                None => break,
                Some(H2Event::Head { stream, head, end }) => {
                    let incoming = self.incoming.entry(stream).or_default();
                    assert!(!incoming.has_head);
                    incoming.has_head = head.status() != 103;
                    incoming.ended = end;
                    if head.status() == 0 {
                        answers = std::str::from_utf8(&head.path()[1..])
                            .unwrap()
                            .parse::<usize>()
                            .ok();
                        assert!(answers.is_some());
                    }
                    if let Some(number) = answers {
                        self.answer(stream, number);
                    }
                }
                Some(H2Event::Body { stream, bytes, end }) => {
                    let incoming = self.incoming.get_mut(&stream).unwrap();
                    assert!(incoming.has_head && !incoming.ended);
                    incoming.body.extend_from_slice(bytes);
                    incoming.held += bytes.len();
                    incoming.ended = end;
                    assert!(incoming.held <= self.local.stream_window as usize);
                }
                Some(H2Event::Trailers { stream, lines }) => {
                    let incoming = self.incoming.get_mut(&stream).unwrap();
                    assert!(!incoming.ended);
                    incoming.trailers = String::from_utf8(lines.to_vec()).unwrap();
                    incoming.ended = true;
                }
                Some(H2Event::Settings | H2Event::Pong) => {}
                Some(other) => panic!("unexpected: {other:?}"),
            }
        }
        assert_eq!(used, bytes.len());
        let held: usize = self.incoming.values().map(|incoming| incoming.held).sum();
        assert!(held <= self.local.connection_window as usize);
    }

    fn answer(&mut self, stream: StreamId, number: usize) {
        let plan = self.plans[number].clone();
        self.connection
            .send_head(stream, 103, [], false)
            .unwrap_or_else(|_| panic!("{stream} is open"));
        self.begin(stream, plan.response_bytes, plan.trailers, number);
        let end = plan.response_bytes == 0 && !plan.trailers;
        self.connection
            .send_head(stream, 200, [field("Server", "palantir")], end)
            .unwrap();
        self.outgoing.get_mut(&stream).unwrap().done = end;
    }

    fn begin(&mut self, stream: StreamId, len: usize, trailers: bool, seed: usize) {
        let body = body(len, seed);
        let outgoing = Outgoing {
            body,
            sent: 0,
            trailers,
            done: false,
        };
        self.outgoing.insert(stream, outgoing);
    }

    fn release(&mut self) {
        for (stream, incoming) in &mut self.incoming {
            let bytes = std::mem::take(&mut incoming.held);
            self.connection.release(*stream, bytes as u32);
        }
    }

    /// Opens what may be opened, and offers what is not sent: new bodies first, then those whose turn it is.
    fn send(&mut self, all: &[Plan]) {
        while self.connection.free_streams() > 0
            && !self.plans.is_empty()
            && self.connection.has_peer_settings
        {
            let number = all.len() - self.plans.len();
            let plan = self.plans.remove(0);
            let target = format!("/{number}");
            let request = StreamRequest {
                method: b"POST",
                scheme: b"http",
                authority: b"h",
                target: target.as_bytes(),
                protocol: None,
            };
            let length = plan.request_bytes.to_string();
            let fields = [
                field("Priority", plan.priority),
                field("Content-Length", &length),
            ];
            let end = plan.request_bytes == 0 && !plan.trailers;
            let stream = self.connection.open(&request, fields, end).unwrap();
            self.begin(stream, plan.request_bytes, plan.trailers, number);
            self.outgoing.get_mut(&stream).unwrap().done = end;
        }
        let fresh: Vec<_> = self
            .outgoing
            .iter()
            .filter(|(_, outgoing)| outgoing.sent == 0)
            .map(|(id, _)| *id)
            .collect();
        fresh.into_iter().for_each(|stream| self.offer(stream));
        while let Some(stream) = self.connection.next_to_send() {
            self.offer(stream);
        }
    }

    fn offer(&mut self, stream: StreamId) {
        let outgoing = self.outgoing.get_mut(&stream).unwrap();
        if outgoing.done {
            return;
        }
        let rest = &outgoing.body[outgoing.sent..];
        outgoing.sent += self
            .connection
            .send_body(stream, rest, !outgoing.trailers, Micros(0))
            .unwrap();
        if outgoing.sent == outgoing.body.len() {
            outgoing.done = true;
            if outgoing.trailers {
                self.connection
                    .send_trailers(stream, [field("x-end", "yes")])
                    .unwrap();
            }
        }
    }
}

struct Pair {
    client: Side,
    server: Side,
    all: Vec<Plan>,
}

impl Pair {
    fn side(&mut self, role: Role) -> (&mut Side, &mut Side) {
        match role {
            Role::Client => (&mut self.client, &mut self.server),
            Role::Server => (&mut self.server, &mut self.client),
        }
    }

    fn make(&mut self, step: Move) {
        let all = self.all.clone();
        let role = match step {
            Move::Deliver(role, count) => {
                self.side(role).0.receive(count);
                role
            }
            Move::Release(role) => {
                self.side(role).0.release();
                role
            }
            Move::Send(role) => {
                self.side(role).0.send(&all);
                role
            }
            Move::Expire(role) => {
                assert_eq!(
                    self.side(role).0.connection.expire(Micros(1), PATIENCE),
                    Ok(())
                );
                role
            }
        };
        let (side, other) = self.side(role);
        let sent = side.connection.take_output(Vec::new());
        // One turn of output, and what it was before the bound was looked at.
        assert!(sent.len() < limits::H2_OUTPUT_BYTES + 32_768);
        other.pipe.extend(sent);
    }

    fn is_done(&self) -> bool {
        let count = self.all.len();
        let ended = |side: &Side| {
            side.incoming
                .values()
                .filter(|incoming| incoming.ended)
                .count()
                == count
        };
        ended(&self.client) && ended(&self.server)
    }
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let bytes = || {
        prop_oneof![
            Just(0usize),
            1usize..100,
            16_000usize..17_000,
            60_000usize..200_000
        ]
    };
    let priority = prop::sample::select(vec!["u=3", "u=0", "i", "u=7, i"]);
    let plan = (bytes(), bytes(), any::<bool>(), priority).prop_map(
        |(request_bytes, response_bytes, trailers, priority)| Plan {
            request_bytes,
            response_bytes,
            trailers,
            priority,
        },
    );
    proptest::collection::vec(plan, 1..12)
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let role = || prop::sample::select(vec![Role::Client, Role::Server]);
    let step = prop_oneof![
        4 => (role(), prop_oneof![0usize..30, 100usize..100_000]).prop_map(|(role, count)| Move::Deliver(role, count)),
        1 => role().prop_map(Move::Release),
        2 => role().prop_map(Move::Send),
        1 => role().prop_map(Move::Expire),
    ];
    proptest::collection::vec(step, 0..150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn everything_arrives(
        plans in plans(), moves in moves(), streams in 1u32..8, windows in prop::sample::select(vec![(65_535,
        65_535), (65_535, 150_000), (200_000, 80_000)]),
    ) {
        let local = LocalSettings {
            streams,
            stream_window: windows.0,
            connection_window: windows.1,
            ..LocalSettings::default()
        };
        let mut pair = Pair {
            client: Side::new(Role::Client, &local, &plans),
            server: Side::new(Role::Server, &local, &plans),
            all: plans.clone(),
        };
        for step in moves {
            pair.make(step);
        }
        for _ in 0..2_000 {
            if pair.is_done() {
                break;
            }
            for role in [Role::Client, Role::Server] {
                for step in [Move::Deliver(role, usize::MAX), Move::Release(role), Move::Send(role)] {
                    pair.make(step);
                }
            }
        }
        prop_assert!(pair.is_done(), "something never arrives");
        for (number, plan) in plans.iter().enumerate() {
            let stream = 2 * number as StreamId + 1;
            let trailers = if plan.trailers { "x-end: yes\r\n" } else { "" };
            for (side, bytes) in [(&pair.server, plan.request_bytes), (&pair.client, plan.response_bytes)] {
                let incoming = &side.incoming[&stream];
                prop_assert!(incoming.body == body(bytes, number));
                prop_assert_eq!(&incoming.trailers, trailers);
                prop_assert_eq!(side.connection.open_streams(), 0);
            }
        }
    }
}
