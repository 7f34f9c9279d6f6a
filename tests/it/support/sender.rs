//! A client that goes on through kills and restarts: it sends good and wrong events, some of them again, and keeps book of
//! what it was told.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use uuid::Uuid;

use super::{
    client::{Client, Connection, Told, Wire},
    events::{self, Form},
};

/// A client that keeps book of what it was told.
#[derive(Debug)]
pub struct Sender {
    rng: Rng,
    fresh_max: usize,
    /// Good events to be sent, and whether an earlier try may have stored them.
    pending: HashMap<Uuid, bool>,
    /// Events it may forget; it sends some again all the same.
    pub acknowledged: HashSet<Uuid>,
    acknowledged_order: Vec<Uuid>,
    bad_pending: Vec<Uuid>,
    /// Wrong events that were answered `rejected`.
    pub rejected: Vec<Uuid>,
    /// Events that it sent, each as often as it sent it.
    pub sent: usize,
    /// Events whose answer was lost.
    pub unknown_fates: usize,
    /// Whether the disk fails to sync now and then: what is answered `storage_unavailable` may then be stored.
    syncs_fail: bool,
    /// Whether the disk is lost now and then: a gateway on a new one takes every event for a new one.
    disk_is_lost: bool,
}

impl Sender {
    /// One that sends at most so many new events at a time.
    pub fn new(rng: Rng, fresh_max: usize) -> Self {
        Self {
            rng,
            fresh_max,
            pending: HashMap::new(),
            acknowledged: HashSet::new(),
            acknowledged_order: Vec::new(),
            bad_pending: Vec::new(),
            rejected: Vec::new(),
            sent: 0,
            unknown_fates: 0,
            syncs_fail: false,
            disk_is_lost: false,
        }
    }

    /// The same, to a gateway whose disk is lost now and then.
    pub fn with_lost_disks(mut self) -> Self {
        self.disk_is_lost = true;
        self
    }

    /// The same, to a gateway whose disk fails to sync now and then.
    pub fn with_failing_disk(mut self) -> Self {
        self.syncs_fail = true;
        self
    }

    /// Sends until the gateway is killed.
    pub async fn send_until(mut self, client: Client, killed: Arc<AtomicBool>) -> Self {
        while !killed.load(Ordering::Relaxed) {
            let wire = if self.rng.bool() { Wire::H1 } else { Wire::H2 };
            let Ok(mut connection) = client.connect(wire).await else {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            };
            // Now and then a new connection.
            for _ in 0..self.rng.usize(1..20) {
                let fresh = self.rng.usize(..self.fresh_max);
                let batch = self.batch(fresh);
                if !self.send(&mut connection, &batch).await {
                    break;
                }
                if self.rng.u8(..4) == 0 {
                    let pause = Duration::from_micros(self.rng.u64(..10_000));
                    tokio::time::sleep(pause).await;
                }
            }
        }
        self
    }

    /// Sends what is left until every event's fate is known.
    pub async fn settle(&mut self, client: &Client) {
        let mut connection = client.connect(Wire::H2).await.expect("it is ready");
        while !self.pending.is_empty() || !self.bad_pending.is_empty() {
            let batch = self.batch(0);
            assert!(self.send(&mut connection, &batch).await, "nobody kills it now");
        }
    }

    fn batch(&mut self, fresh: usize) -> Batch {
        let form = Form::any(&mut self.rng);
        let mut items: Vec<Item> = (0..fresh).map(|_| Item::Good(events::identity(&mut self.rng))).collect();
        items.extend(self.pending.keys().take(60).map(|uuid| Item::Good(*uuid)));
        for _ in 0..self.rng.usize(..4) {
            if !self.acknowledged_order.is_empty() {
                items.push(Item::Good(self.acknowledged_order[self.rng.usize(..self.acknowledged_order.len())]));
            }
        }
        if fresh > 0 && self.rng.u8(..3) == 0 {
            self.bad_pending.push(events::identity(&mut self.rng));
        }
        self.bad_pending.retain(|uuid| {
            let fits = form.is_lines() || !events::bad(*uuid).needs_lines;
            if fits {
                items.push(Item::Bad(*uuid));
            }
            !fits
        });
        self.rng.shuffle(&mut items);
        if self.rng.u8(..4) == 0 && !items.is_empty() {
            // A twin in the same request.
            let twin = items[self.rng.usize(..items.len())];
            items.push(twin);
        }
        if items.is_empty() {
            items.push(Item::Good(events::identity(&mut self.rng)));
        }
        Batch { form, items, wait_for_delivery: self.rng.u8(..10) == 0 }
    }

    /// Sends a batch and writes down what is told. False where the connection broke.
    async fn send(&mut self, connection: &mut Connection, batch: &Batch) -> bool {
        let bodies: Vec<_> = batch.items.iter().map(|item| item.bytes()).collect();
        let mut post = batch.form.post(&bodies);
        if batch.wait_for_delivery {
            post = post.header("prefer", "durability=delivered");
        }
        self.sent += batch.items.len();
        let Ok(answer) = connection.post(&post).await else {
            for item in &batch.items {
                match *item {
                    Item::Good(uuid) if !self.acknowledged.contains(&uuid) => {
                        self.pending.insert(uuid, true);
                        self.unknown_fates += 1;
                    }
                    Item::Good(_) => {}
                    Item::Bad(uuid) if self.bad_pending.contains(&uuid) => {}
                    Item::Bad(uuid) => self.bad_pending.push(uuid),
                }
            }
            return false;
        };
        for (item, told) in batch.items.iter().zip(answer.told(batch.items.len())) {
            match *item {
                Item::Good(uuid) => self.write_down(uuid, told),
                Item::Bad(uuid) => match told {
                    Told::Rejected(code) => {
                        assert_eq!(code, events::bad(uuid).code, "{uuid}");
                        self.rejected.push(uuid);
                    }
                    Told::Retry(_) => self.bad_pending.push(uuid),
                    _ => panic!("{uuid} is wrong and was taken"),
                },
            }
        }
        true
    }

    fn write_down(&mut self, uuid: Uuid, told: Told) {
        let may_be_stored = self.pending.get(&uuid).copied().unwrap_or(false);
        let is_acknowledged = self.acknowledged.contains(&uuid);
        match told {
            Told::Accepted => assert!(!is_acknowledged || self.disk_is_lost, "{uuid} was accepted a second time"),
            Told::Duplicate => assert!(is_acknowledged || may_be_stored, "{uuid} was never stored and is called a duplicate"),
            Told::Retry(_) if is_acknowledged => return,
            Told::Retry(code) => {
                let is_unsure = matches!(code.as_str(), "in_flight" | "not_delivered_in_time");
                // After a failed sync nobody knows what the disk holds; the next start does.
                let may_be_stored = may_be_stored || is_unsure || (self.syncs_fail && code == "storage_unavailable");
                self.pending.insert(uuid, may_be_stored);
                return;
            }
            // Told to who waits for delivery: it was accepted, and is in the dead letters.
            Told::Rejected(code) => assert_eq!(code, "refused_by_sink", "{uuid} is right"),
        }
        self.pending.remove(&uuid);
        if !is_acknowledged {
            self.acknowledged.insert(uuid);
            self.acknowledged_order.push(uuid);
        }
    }
}

/// One request's events.
struct Batch {
    form: Form,
    items: Vec<Item>,
    wait_for_delivery: bool,
}

#[derive(Clone, Copy)]
enum Item {
    Good(Uuid),
    Bad(Uuid),
}

impl Item {
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Good(uuid) => events::good(uuid),
            Self::Bad(uuid) => events::bad(uuid).bytes,
        }
    }
}
