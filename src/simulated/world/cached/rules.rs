//! The answers that a client may have.

use std::rc::Rc;

use super::origin::{Production, content, entity_tag};
use super::scenario::{Ask, AskId, AskKind, Event, Resource};
use super::scene::Scene;
use crate::simulated::world::message::Head;

/// Milliseconds by which the world and the proxy may read the clock differently.
const READING: u64 = 2;
/// Milliseconds for which trouble at the origin may have an effect: a rest, and the time of a request.
const TROUBLE: u64 = 20_000;

/// An answer that a client has got, beside what is known of it.
struct Answer<'a> {
    scene: &'a Scene,
    id: AskId,
    ask: &'a Ask,
    resource: &'a Resource,
    head: &'a Head,
    /// When the request began: its place in the order of all that happens, and in milliseconds.
    begun: (u64, u64),
}

impl Scene {
    /// A client has got a final head.
    pub fn received(&mut self, id: AskId, head: &Head) {
        let scenario = self.scenario.clone();
        let (order, millis, _) = self.records.asks[id].begun.unwrap_or_default();
        let ask = &scenario.asks[id];
        let answer = Answer {
            scene: self,
            id,
            ask,
            resource: &scenario.resources[ask.resource],
            head,
            begun: (order, millis),
        };
        match answer.check() {
            Ok(expected) => self.records.head(id, head.status(), expected),
            Err(why) => self.records.violated(format!("request {id} {why}")),
        }
        self.records
            .note_way(head.field("cache-status").unwrap_or_default());
        let key = (ask.resource, ask.variant);
        if let Some(tag) = head.field("etag") {
            self.records.tags.retain(|(known, _)| *known != key);
            self.records.tags.push((key, tag.to_owned()));
        }
        if let AskKind::Post(other) = ask.kind
            && (200..300).contains(&head.status())
        {
            let order = self.records.next_order();
            let resources = &scenario.resources;
            let other = other.filter(|one| resources[*one].is_beside(&resources[ask.resource]));
            for changed in [Some(ask.resource), other].into_iter().flatten() {
                let floor = (order, changed, self.version_by(id, changed));
                self.records.floors.push(floor);
            }
        }
        self.note(Event::Received);
    }

    /// The version that a resource had at least when a POST had changed it.
    fn version_by(&self, post: AskId, resource: usize) -> u32 {
        let posts = self.origin.productions.iter();
        let mut posts = posts.filter(|one| one.asker == post && one.is_post);
        let Some(first) = posts.next() else {
            return 0;
        };
        if first.resource == resource {
            return first.version;
        }
        // An answer that was asked for before the change has an older version.
        let before = self.origin.productions.iter();
        let before = before.filter(|one| one.resource == resource && one.order < first.order);
        before.map(|one| one.version + 1).max().unwrap_or(0)
    }
}

impl Answer<'_> {
    /// The body that has to come; `None`: the answer is the proxy's own.
    fn check(&self) -> Result<Option<Rc<[u8]>>, String> {
        let status = self.head.status();
        let productions = &self.scene.origin.productions;
        let named = self.head.number("x-made");
        let Some(production) = named.and_then(|named| productions.get(named)) else {
            return match status {
                304 => self.check_not_modified().map(Some),
                416 if self.is_beyond() => Ok(None),
                500.. | 408 => Ok(None),
                _ => Err(format!("got {status} from nobody")),
            };
        };
        self.check_production(production)?;
        self.check_age(production)?;
        let whole = match self.head.number("x-body") {
            Some(number) => content(self.resource, &productions[number]),
            None => content(self.resource, production),
        };
        self.part(&whole, status).map(Some)
    }

    fn is_beyond(&self) -> bool {
        matches!(self.ask.kind, AskKind::Range(first, _) if first >= self.resource.length)
    }

    /// Invariant: a 304 says that a version holds which the client may have.
    fn check_not_modified(&self) -> Result<Rc<[u8]>, String> {
        let tag = self.head.field("etag");
        let productions = self.scene.origin.productions.iter();
        let mut same = productions.filter(|one| {
            one.resource == self.ask.resource && entity_tag(self.resource, one).as_deref() == tag
        });
        let mut last = Err(format!("got a 304 with the tag {tag:?}, which is nobody's"));
        let is_right = same.any(|one| {
            last = self.check_production(one);
            last.is_ok()
        });
        match is_right && tag.is_some() {
            true => Ok(Rc::from([])),
            false => Err(last.err().unwrap_or_default()),
        }
    }

    /// The bytes that the answer has to have. Invariant: a part is the one that was asked for.
    fn part(&self, whole: &[u8], status: u16) -> Result<Rc<[u8]>, String> {
        let bytes = match (status, self.ask.kind) {
            (304, _) | (_, AskKind::Head) => &[],
            (206, AskKind::Range(first, last)) => {
                let last = last.min(whole.len().saturating_sub(1));
                let expected = format!("bytes {first}-{last}/{}", whole.len());
                let range = self.head.field("content-range");
                if range != Some(expected.as_str()) {
                    return Err(format!("got {range:?} in place of {expected:?}"));
                }
                &whole[first..=last]
            }
            (206, _) => return Err("got a part for a whole".to_owned()),
            (416, _) if self.is_beyond() => &[],
            (416, _) => return Err("got 416 for what there is".to_owned()),
            _ => whole,
        };
        Ok(bytes.into())
    }

    /// Checks that the client may have an answer that says that it is this one of the origin.
    fn check_production(&self, production: &Production) -> Result<(), String> {
        self.check_subject(production)?;
        self.check_sharing(production)?;
        self.check_version(production)?;
        self.check_purges(production)?;
        self.check_freshness(production)
    }

    /// Invariant: an answer is for the resource and the variant that were asked for.
    fn check_subject(&self, production: &Production) -> Result<(), String> {
        let (asked, made) = (self.ask.resource, production.resource);
        if asked != made {
            return Err(format!("for resource {asked} got resource {made}"));
        }
        let (asked, made) = (self.ask.variant, production.variant);
        if self.resource.is_varied && asked != made {
            return Err(format!("for variant {asked} got variant {made}"));
        }
        Ok(())
    }

    /// Invariant: an answer that is for one client alone goes to that client.
    fn check_sharing(&self, production: &Production) -> Result<(), String> {
        let control = &self.resource.control;
        let is_shared = !control.is_private
            && !control.is_no_store
            && (!production.is_authorized || control.permits_sharing())
            && production.status < 500
            && !production.is_post;
        if production.asker != self.id && !is_shared {
            return Err(format!(
                "got what was for request {} alone: {production:?}",
                production.asker
            ));
        }
        Ok(())
    }

    /// Invariant: a request that begins after a POST to its resource was answered gets no older version.
    fn check_version(&self, production: &Production) -> Result<(), String> {
        let floors = self.scene.records.floors.iter();
        let known = floors.filter(|(order, resource, _)| {
            *order < self.begun.0 && *resource == production.resource
        });
        let least = known.map(|(.., version)| *version).max().unwrap_or(0);
        if production.version < least && production.status < 500 {
            let version = production.version;
            return Err(format!(
                "got version {version} after a POST that made {least}"
            ));
        }
        Ok(())
    }

    /// Invariant: a request that begins after a purge was acknowledged gets nothing from before it; after a soft purge
    /// only what was validated since, or may be served stale.
    fn check_purges(&self, production: &Production) -> Result<(), String> {
        let body = self.head.number("x-body");
        let body = body.and_then(|number| self.scene.origin.productions.get(number));
        let has_tags = production.status < 500 && !production.is_post;
        for purge in &self.scene.records.purges {
            let concerns = (self.resource).is_purged(production.resource, purge.what, has_tags);
            if purge.order > self.begun.0 || !concerns {
                continue;
            }
            let is_older = production.order < purge.order;
            if !purge.is_soft {
                if is_older || body.is_some_and(|body| body.order < purge.order) {
                    return Err(format!("got what {purge:?} purged: {production:?}"));
                }
            } else if is_older
                && !self.is_validated(production, purge.order)
                && !self.may_be_stale(production)
            {
                return Err(format!("got what {purge:?} made stale: {production:?}"));
            }
        }
        Ok(())
    }

    /// Whether the origin has said since a place in the order that a version holds.
    fn is_validated(&self, production: &Production, since: u64) -> bool {
        self.scene.origin.productions.iter().any(|one| {
            one.order > since
                && (one.resource, one.version) == (production.resource, production.version)
                && (!self.resource.is_varied || one.variant == production.variant)
        })
    }

    /// Invariant: nothing is served beyond its freshness but where that is permitted.
    fn check_freshness(&self, production: &Production) -> Result<(), String> {
        let control = &self.resource.control;
        let fresh = u64::from(control.lifetime()) * 1_000;
        let is_fresh = !control.is_no_cache && self.begun.1 < production.millis + fresh + READING;
        let is_own = production.order > self.begun.0;
        if is_own
            || is_fresh
            || self.is_validated(production, self.begun.0)
            || self.may_be_stale(production)
        {
            return Ok(());
        }
        let late = self.begun.1 - production.millis;
        Err(format!(
            "began {late} ms after this stale answer: {production:?}"
        ))
    }

    /// Whether the answer may be served beyond its freshness, or when a purge has made it stale.
    fn may_be_stale(&self, production: &Production) -> bool {
        let (control, policy) = (&self.resource.control, &self.scene.scenario.policy);
        let begins_within = |window: u32| {
            let secs = u64::from(control.lifetime() + window);
            window > 0 && self.begun.1 < production.millis + secs * 1_000 + READING
        };
        begins_within(control.refresh_window(policy))
            || (self.is_troubled() && begins_within(control.error_window(policy)))
    }

    /// Whether the origin has had trouble of late, or the proxy has not waited for it any longer.
    fn is_troubled(&self) -> bool {
        let patience = self.scene.scenario.policy.stale_after;
        let now = self.scene.millis();
        let mut troubles = self.scene.origin.troubles.iter();
        let is_late = patience > 0 && now >= self.begun.1 + patience;
        is_late
            || troubles.any(|(pool, at)| *pool == self.resource.pool && at + TROUBLE > self.begun.1)
    }

    /// Invariant: an answer says no less than its age.
    fn check_age(&self, production: &Production) -> Result<(), String> {
        if production.order > self.begun.0 {
            return Ok(());
        }
        let least = self.begun.1.saturating_sub(production.millis + READING) / 1_000;
        let said = self.head.number("age").unwrap_or(0) as u64;
        if said < least {
            return Err(format!("got the age {said} of an answer {least} s old"));
        }
        Ok(())
    }
}
