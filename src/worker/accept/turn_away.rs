//! Turns away clients in the queue of a listening socket that this process took over, if they connected for another
//! purpose than the socket has now: no byte that they send is read as a request or passed on.

use std::rc::Rc;
use std::time::Duration;

use crate::base::addresses::Purpose;
use crate::base::limits;
use crate::net::{ListenSocket, Socket, Timer, spawn};
use crate::worker::accept::pause::{pause, pause_after};
use crate::worker::client_room::CountedConnection;
use crate::worker::client_room::has_descriptors;
use crate::worker::downstream::linger_after_last_message;
use crate::worker::shard::{CountedListener, Shard};

/// The answer for clients that speak HTTP without TLS: the listener that they connected to is gone.
pub const GONE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 36\r\nConnection: close\r\n\r\nWhat was served here is gone by now.";

/// Turns away the clients that are in the queue now, even beyond the bounds on connections: they would block the socket
/// for its present clients. Clients that connect meanwhile are turned away, too, until their number reaches the size of
/// the queue. If no descriptor is free, the function waits for one, until `is_over`, because a client that is left in
/// the queue would be served for another purpose than its own.
pub async fn queue(
    shard: &Rc<Shard>,
    listener: &ListenSocket,
    came_for: Purpose,
    is_over: impl Fn() -> bool,
) {
    let mut turned_away = 0;
    let lingering = Rc::new(());
    // The next process that has the same socket goes on when this one ends.
    while turned_away <= limits::BACKLOG && !shard.is_ending() {
        if !has_descriptors(shard) {
            if is_over() {
                return;
            }
            pause(shard).await;
            continue;
        }
        match listener.accept_waiting(&shard.turn).await {
            None => return,
            Some(Err(_)) if is_over() => return,
            Some(Err(error)) => pause_after(shard, &error).await,
            Some(Ok((socket, _))) => {
                turned_away += 1;
                // A client that began with TLS or a PROXY header could not read an answer in cleartext.
                if came_for.is_cleartext {
                    let counted = CountedConnection::begin(shard, None);
                    spawn(tell(shard.clone(), counted, socket, lingering.clone()));
                }
            }
        }
    }
}

/// Turns away all clients of a socket that no listener has any more, for as long as clients may connect that do not
/// know of the change.
pub async fn leftover(counted: CountedListener, listener: ListenSocket, came_for: Purpose) {
    let shard = counted.shard();
    let timer = Timer::new(&shard.timers);
    timer.set(Duration::from_millis(limits::LEFTOVER_MILLIS));
    let last = Timer::new(&shard.timers);
    last.set(Duration::from_millis(limits::LEFTOVER_EXHAUSTED_MILLIS));
    loop {
        queue(shard, &listener, came_for, || last.expired()).await;
        if timer.expired() || shard.is_ending() {
            return;
        }
        pause(shard).await;
    }
}

/// Tells one client that its listener is gone. Most clients have sent their request while they waited, and their
/// connections can be closed at once. The bytes of the others are received for a bounded time, because unread bytes
/// would reset the connection and destroy the answer.
async fn tell(shard: Rc<Shard>, counted: CountedConnection, socket: Socket, lingering: Rc<()>) {
    let timer = Timer::new(&shard.timers);
    let wait = Duration::from_millis(limits::LINGER_MILLIS);
    timer.set(wait);
    let has_asked = drop_received(&shard, &socket);
    let mut answer = shard.blocks.take();
    answer.extend(GONE);
    let sent = socket.send_all(&mut answer, &timer).await;
    shard.blocks.give(answer);
    let may_linger = Rc::strong_count(&lingering) <= limits::TURNED_AWAY_AT_ONCE;
    if matches!(sent, Ok(Ok(()))) && may_linger && !(has_asked && socket.is_quiet()) {
        linger_after_last_message(&shard, &socket, &timer).await;
    }
    drop((counted, lingering));
}

/// Discards the bytes that the client has sent so far. The result says whether there were any.
fn drop_received(shard: &Shard, socket: &Socket) -> bool {
    let mut block = shard.blocks.take();
    let mut count = 0;
    while count < limits::TURNED_AWAY_BYTES
        && let Ok(more @ 1..) = socket.receive(&mut block, usize::MAX)
    {
        count += more as u64;
        block.clear();
    }
    shard.blocks.give(block);
    count > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h1::{Asked, FieldSlots, ResponseBody, parse_response};

    #[test]
    fn what_is_said_is_an_answer_of_its_length() {
        let mut slots = FieldSlots::new();
        let parsed = parse_response(GONE, &mut slots, Asked::default(), 1_000);
        let head = parsed.unwrap().unwrap();
        let length = GONE.len() - head.head_bytes;
        assert_eq!(head.body, ResponseBody::Length(length as u64));
    }
}
