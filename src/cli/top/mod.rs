//! `palantir top`: the live page, in a terminal.

mod draw;
mod figures;
mod stats;

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use self::stats::{TopPoint, TopStats};
use super::admin::{AdminClient, AdminError};
use crate::base::limits;

const PERIOD: Duration = Duration::from_secs(1);
/// Rows that a page key moves the choice by.
const PAGE: usize = 10;

/// The content of the screen.
#[derive(Default)]
struct View {
    stats: Option<TopStats>,
    /// Oldest first.
    history: VecDeque<TopPoint>,
    /// Why there are no newer statistics, if the last question failed.
    trouble: Option<String>,
    /// The chosen row among the backends that are shown.
    chosen: usize,
    only_troubled: bool,
}

/// Shows the palantir that `client` speaks to until the user leaves. A palantir that goes away is waited for. Errors:
/// there is no terminal, or the first question is not answered.
pub(super) async fn watch(client: AdminClient) -> Result<(), AdminError> {
    if !io::stdout().is_terminal() {
        let text = "top needs a terminal; GET /board gives the same as JSON";
        return Err(AdminError::Refused(vec![text.to_owned()]));
    }
    let mut view = View::default();
    view.look(&client).await?;
    let outcome = match ratatui::try_init() {
        Ok(mut terminal) => run(&mut view, &client, &mut terminal).await,
        Err(error) => Err(error),
    };
    let outcome = ratatui::try_restore().and(outcome);
    outcome.map_err(|error| AdminError::Refused(vec![format!("the terminal: {error}")]))
}

async fn run(
    view: &mut View,
    client: &AdminClient,
    terminal: &mut DefaultTerminal,
) -> io::Result<()> {
    let mut keys = read_keys();
    let mut next = Instant::now() + PERIOD;
    loop {
        terminal.draw(|frame| draw::draw(frame, view))?;
        tokio::select! {
            event = keys.recv() => match event {
                Some(Event::Key(key)) if !view.press(key) => return Ok(()),
                Some(_) => {}
                None => return Ok(()),
            },
            () = sleep_until(next) => {
                if let Err(trouble) = view.look(client).await {
                    view.trouble = Some(trouble.to_string());
                }
                next = Instant::now() + PERIOD;
            }
        }
    }
}

/// Events of the terminal, read on a thread that ends with the process.
fn read_keys() -> mpsc::Receiver<Event> {
    let (sender, events) = mpsc::channel(limits::TOP_EVENTS);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    events
}

fn read<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, AdminError> {
    let unknown =
        |error| AdminError::Refused(vec![format!("palantir is of another version: {error}")]);
    serde_json::from_value(value).map_err(unknown)
}

impl View {
    /// Asks for the figures of now. Errors: there are none.
    async fn look(&mut self, client: &AdminClient) -> Result<(), AdminError> {
        if self.stats.is_none() {
            let points: Vec<TopPoint> = read(client.get("/board/history").await?)?;
            self.history.extend(points);
        }
        self.take(read(client.get("/board").await?)?);
        Ok(())
    }

    fn take(&mut self, stats: TopStats) {
        let is_new = self
            .history
            .back()
            .is_none_or(|last| last.time < stats.time);
        if is_new {
            self.history.push_back(stats.point());
        }
        while self.history.len() > limits::TOP_HISTORY_SECS {
            self.history.pop_front();
        }
        self.trouble = None;
        self.stats = Some(stats);
    }

    /// Whether to go on after a key.
    fn press(&mut self, key: KeyEvent) -> bool {
        if key.kind == KeyEventKind::Release {
            return true;
        }
        let last = self.rows().len().saturating_sub(1);
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
            KeyCode::Char('q') | KeyCode::Esc => return false,
            KeyCode::Up | KeyCode::Char('k') => self.chosen = self.chosen.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.chosen = (self.chosen + 1).min(last),
            KeyCode::PageUp => self.chosen = self.chosen.saturating_sub(PAGE),
            KeyCode::PageDown => self.chosen = (self.chosen + PAGE).min(last),
            KeyCode::Home => self.chosen = 0,
            KeyCode::End => self.chosen = last,
            KeyCode::Char('n') => {
                self.only_troubled = !self.only_troubled;
                self.chosen = 0;
            }
            _ => {}
        }
        true
    }

    /// The backends to show, each with its pool's name.
    fn rows(&self) -> Vec<(&str, &stats::TopBackend)> {
        let pools = self.stats.iter().flat_map(|stats| &stats.pools);
        let rows = pools.flat_map(|pool| {
            let backends = pool.backends.iter();
            backends.map(|backend| (pool.name.as_str(), backend))
        });
        rows.filter(|(_, backend)| !self.only_troubled || backend.state != "healthy")
            .collect()
    }
}

#[cfg(test)]
mod tests;
