//! The load generator: a number of connections, each with one request in flight.
//!
//! *Closed* loop: the next request follows the answer at once, so the server is as busy as client and machine allow; this
//! is for the cost of an event. *Open* loop: requests are due at fixed times, and the latency of each counts from when it
//! was **due**. A server that stalls delays the requests behind it, and their waiting is in the figures too, which a
//! client that only times what it sends would leave out (coordinated omission).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::task::JoinSet;

use crate::{
    corpus::Corpus,
    wire::{Connection, Target},
};

/// Time after which an answer is not waited for any more.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections to one server, open.
pub(crate) struct Client {
    connections: Vec<Connection>,
    corpus: Arc<Corpus>,
}

/// What one run came to. Every answer in it was the expected one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Run {
    /// Requests answered.
    pub(crate) requests: u64,
    /// Events in them.
    pub(crate) events: u64,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// Open loop only: seconds from when each request was due to its answer, ascending.
    pub(crate) latencies: Vec<f32>,
}

impl Run {
    /// Requests in each second.
    pub(crate) fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// Events in each second.
    pub(crate) fn events_per_second(&self) -> f64 {
        self.events as f64 / self.elapsed.as_secs_f64()
    }

    /// Milliseconds under which this share of the requests were answered.
    pub(crate) fn latency_ms(&self, share: f64) -> f64 {
        let index = ((self.latencies.len() as f64 * share).ceil() as usize).clamp(1, self.latencies.len().max(1)) - 1;
        self.latencies.get(index).map_or(f64::NAN, |seconds| f64::from(*seconds) * 1e3)
    }
}

/// What one connection does next.
#[derive(Clone, Copy)]
enum Pace {
    Closed,
    /// Its first request is due after `first`, and then one every `every`.
    Open {
        first: Duration,
        every: Duration,
    },
}

impl Client {
    /// Opens `connections` connections.
    pub(crate) async fn connect(target: &Target, connections: usize, corpus: Arc<Corpus>) -> anyhow::Result<Self> {
        let mut open = Vec::with_capacity(connections);
        for _ in 0..connections {
            open.push(target.connect().await?);
        }
        Ok(Self { connections: open, corpus })
    }

    /// As fast as the answers come, for `duration`.
    pub(crate) async fn closed(&mut self, duration: Duration) -> anyhow::Result<Run> {
        self.run(duration, |_| Pace::Closed).await
    }

    /// `rate` requests a second, whatever the answers do, for `duration`.
    pub(crate) async fn open(&mut self, duration: Duration, rate: f64) -> anyhow::Result<Run> {
        let every = Duration::from_secs_f64(self.connections.len() as f64 / rate);
        let count = self.connections.len() as f64;
        let mut run = self.run(duration, |index| Pace::Open { first: every.mul_f64(index as f64 / count), every }).await?;
        run.latencies.sort_unstable_by(f32::total_cmp);
        Ok(run)
    }

    async fn run(&mut self, duration: Duration, pace: impl Fn(usize) -> Pace) -> anyhow::Result<Run> {
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for (index, connection) in self.connections.drain(..).enumerate() {
            tasks.spawn(one(connection, self.corpus.clone(), pace(index), start, duration));
        }
        let mut whole = Run::default();
        let mut wrong = None;
        while let Some(ended) = tasks.join_next().await {
            match ended.context("the load generator panicked")? {
                Ok((connection, part)) => {
                    self.connections.push(connection);
                    whole.requests += part.requests;
                    whole.latencies.extend(part.latencies);
                }
                Err(error) => wrong = Some(error),
            }
        }
        whole.elapsed = start.elapsed();
        whole.events = whole.requests * self.corpus.batch as u64;
        wrong.map_or(Ok(whole), Err)
    }
}

async fn one(
    mut connection: Connection,
    corpus: Arc<Corpus>,
    pace: Pace,
    start: Instant,
    duration: Duration,
) -> anyhow::Result<(Connection, Run)> {
    let mut run = Run::default();
    let end = start + duration;
    match pace {
        Pace::Closed => {
            while Instant::now() < end {
                post(&mut connection, &corpus).await?;
                run.requests += 1;
            }
        }
        Pace::Open { first, every } => {
            let mut due = start + first;
            while due < end {
                tokio::time::sleep_until(due.into()).await;
                post(&mut connection, &corpus).await?;
                run.requests += 1;
                run.latencies.push(due.elapsed().as_secs_f32());
                due += every;
            }
        }
    }
    Ok((connection, run))
}

async fn post(connection: &mut Connection, corpus: &Corpus) -> anyhow::Result<()> {
    tokio::time::timeout(ANSWER_TIMEOUT, connection.post(corpus.fresh())).await.context("no answer in time")?
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicU64, Ordering},
    };

    use hyper::{Response, StatusCode, server::conn::http1, service::service_fn};
    use hyper_util::rt::TokioIo;
    use tokio::net::TcpListener;

    use super::*;
    use crate::{
        events::Event,
        wire::{Expected, Http},
    };

    const STALL: Duration = Duration::from_millis(300);

    /// Answers 204, the tenth request only after [`STALL`].
    async fn serve(listener: TcpListener) {
        let count = Arc::new(AtomicU64::new(0));
        while let Ok((stream, _)) = listener.accept().await {
            let count = count.clone();
            let service = service_fn(move |_| {
                let is_tenth = count.fetch_add(1, Ordering::Relaxed) == 9;
                async move {
                    if is_tenth {
                        tokio::time::sleep(STALL).await;
                    }
                    let mut response = Response::new(String::new());
                    *response.status_mut() = StatusCode::NO_CONTENT;
                    Ok::<_, Infallible>(response)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    }

    fn corpus() -> Arc<Corpus> {
        let bytes = br#"{"event_uuid":"00000000-0000-0000-0000-000000000000"}"#.to_vec();
        Arc::new(Corpus::new(&[Event { bytes, uuid_at: 15 }], 1))
    }

    #[tokio::test]
    async fn requests_that_a_stall_delays_have_waited_too() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::new(listener.local_addr().unwrap(), None, Http::H1, Expected::NoContent, 1).unwrap();
        tokio::spawn(serve(listener));
        let mut client = Client::connect(&target, 1, corpus()).await.unwrap();
        let run = client.open(Duration::from_millis(1000), 100.0).await.unwrap();
        assert_eq!(run.requests, 100);
        let waited = |least: f32| run.latencies.iter().filter(|latency| **latency >= least).count();
        // Some 30 requests were due during the stall; the last of them waited least. Only one was sent meanwhile.
        assert!(waited(0.2) >= 9 && waited(0.1) >= 18, "{:?}", run.latencies);
        assert!(run.latency_ms(0.999) >= 299.0);
    }

    #[tokio::test]
    async fn an_answer_that_is_not_the_expected_one_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::new(listener.local_addr().unwrap(), None, Http::H1, Expected::AllAccepted, 1).unwrap();
        tokio::spawn(serve(listener));
        let mut client = Client::connect(&target, 2, corpus()).await.unwrap();
        let error = client.closed(Duration::from_millis(50)).await.unwrap_err().to_string();
        assert!(error.starts_with("204"), "{error}");
    }
}
