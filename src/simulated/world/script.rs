//! A scenario as a text that a person can follow.

use std::fmt::{self, Display, Formatter};

use super::scenario::{BackendPlan, ClientPlan, PoolKind, RequestPlan, Scenario, Settings, What};

fn millis(micros: u64) -> String {
    format!("{:.1} ms", micros as f64 / 1000.0)
}

impl Display for Scenario {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let weather = &self.weather;
        writeln!(
            f,
            "seed {}: {} workers; segments take up to {}, {} of 100 operations are short, {} bytes are buffered",
            self.seed,
            self.workers,
            millis(weather.latency),
            weather.short,
            weather.capacity
        )?;
        let half_closed = if self.serves_half_closed {
            "served"
        } else {
            "gone"
        };
        writeln!(f, "clients that have ended their side are {half_closed}")?;
        writeln!(f, "settings: {}", self.settings)?;
        for (at, backend) in self.backends.iter().enumerate() {
            writeln!(f, "backend {at} {backend}")?;
        }
        for (at, client) in self.clients.iter().enumerate() {
            writeln!(f, "client {at} {client}")?;
            for id in &client.requests {
                writeln!(f, "    request {id}: {}", self.requests[*id])?;
            }
        }
        for change in &self.changes {
            let at = millis(change.at);
            match &change.what {
                What::Reload(settings) => writeln!(f, "at {at}: reload with {settings}")?,
                What::Health { backend, is_down } => {
                    let state = if *is_down { "unhealthy" } else { "healthy" };
                    writeln!(f, "at {at}: backend {backend} is {state}")?;
                }
                What::Retire => writeln!(f, "at {at}: the workers retire")?,
                What::Drain => writeln!(f, "at {at}: the workers drain")?,
            }
        }
        Ok(())
    }
}

impl Display for Settings {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}, retries {}", self.algorithm, self.retries)?;
        if self.max_connections > 0 {
            write!(f, ", max_connections {}", self.max_connections)?;
        }
        if self.tls > 0 {
            write!(f, ", TLS settings {}", self.tls)?;
        }
        if self.proxy_protocol {
            write!(f, ", PROXY header")?;
        }
        if self.is_shorter {
            write!(f, ", without the last backend of each pool")?;
        }
        Ok(())
    }
}

impl Display for BackendPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let version = if self.pool == PoolKind::One {
            "HTTP/1.1"
        } else {
            "HTTP/2"
        };
        write!(f, "({version})")?;
        for (at, manner) in &self.manners {
            write!(f, "; from {} its address: {manner:?}", millis(*at))?;
        }
        if self.requests_per_connection > 0 {
            write!(
                f,
                "; closes after {} requests",
                self.requests_per_connection
            )?;
        }
        if self.idle_close > 0 {
            write!(f, "; closes when idle for {}", millis(self.idle_close))?;
        }
        if self.streams > 0 {
            write!(f, "; takes {} streams at once", self.streams)?;
        }
        Ok(())
    }
}

impl Display for ClientPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let version = if self.http2 { "HTTP/2" } else { "HTTP/1.1" };
        write!(
            f,
            "({version}) comes at {} to worker {}",
            millis(self.at),
            self.worker
        )?;
        if let Some((after, resets)) = self.leaves {
            let how = if resets { "resets" } else { "closes" };
            write!(f, "; {how} its connection after {}", millis(after))?;
        }
        if let Some((bytes, micros)) = self.reads_slowly {
            write!(f, "; reads {bytes} bytes each {}", millis(micros))?;
        }
        let marks = [
            (self.pipelines && !self.http2, "pipelines"),
            (
                self.half_closes && !self.http2,
                "ends its side behind its last request",
            ),
            (
                self.sends_ahead && !self.http2,
                "sends a byte behind its last request",
            ),
        ];
        for (_, mark) in marks.iter().filter(|(is_so, _)| *is_so) {
            write!(f, "; {mark}")?;
        }
        Ok(())
    }
}

impl Display for RequestPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let framing = |is_chunked: bool| {
            if is_chunked {
                "chunked"
            } else {
                "with its length"
            }
        };
        write!(
            f,
            "after {} {} to pool {:?}",
            millis(self.gap),
            self.method,
            self.pool
        )?;
        if self.body > 0 {
            write!(f, " with {} bytes {}", self.body, framing(self.is_chunked))?;
        }
        if self.stalls {
            write!(f, ", of which the second half never comes")?;
        } else if self.pause > 0 {
            write!(f, ", the second half after {}", millis(self.pause))?;
        }
        if self.long_field + self.long_query > 0 {
            write!(
                f,
                ", a field of {} and a query of {}",
                self.long_field, self.long_query
            )?;
        }
        let marks = [
            (self.tunnel, "through a tunnel"),
            (self.expects, "sent when the client is asked to"),
            (self.trailers, "with trailers where no length is told"),
        ];
        for (_, mark) in marks.iter().filter(|(is_so, _)| *is_so) {
            write!(f, ", {mark}")?;
        }
        write!(
            f,
            "; answered after {} with {} bytes {}",
            millis(self.wait),
            self.answer,
            framing(self.answer_is_chunked)
        )?;
        if let Some(fault) = self.fault {
            write!(
                f,
                "; at the first {} attempts the backend: {fault:?}",
                self.faulty_attempts
            )?;
        }
        Ok(())
    }
}
