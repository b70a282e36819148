//! Clients in the queue of a listening socket that this process was given, who came for something else than the
//! socket is for now: nothing that they say is read, let alone passed on.

use std::rc::Rc;
use std::time::Duration;

use crate::base::addresses::Purpose;
use crate::base::limits;
use crate::net::{ListenSocket, Socket, Timer, spawn};
use crate::worker::accept::pause::{pause, pause_after};
use crate::worker::client_room::CountedConnection;
use crate::worker::client_room::has_descriptors;
use crate::worker::downstream::linger_behind_word;
use crate::worker::shard::{CountedListener, Shard};

/// Says, to whoever speaks HTTP without TLS, that what was here is gone.
pub const GONE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 36\r\nConnection: close\r\n\r\nWhat was served here is gone by now.";

/// Turns the clients away that wait at present, whatever the bound on connections says: they would keep the socket
/// from the clients that it is for now. A client that connects while that goes on is turned away, too, until as many
/// have been as the queue can hold. Where no descriptor is free, that is waited for, unless `is_over`: what is left
/// in the queue would be served for what it is not.
pub async fn queue(
    shard: &Rc<Shard>,
    listener: &ListenSocket,
    came_for: Purpose,
    is_over: impl Fn() -> bool,
) {
    let mut turned_away = 0;
    let lingering = Rc::new(());
    // Another process may have the same socket when this one ends.
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

/// Turns everybody away on a socket that is for nothing any more, until nobody can have come who did not know that.
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

/// Tells one client. Most have sent their request while they waited, and can be left as soon as they are told; the
/// others are listened to for a while, or what they still send would reset the connection, and take the answer from
/// them.
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
        linger_behind_word(&shard, &socket, &timer).await;
    }
    drop((counted, lingering));
}

/// Throws away what the client has sent by now. Whether there was anything.
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
