//! The lingering close: reads and discards what a client still sends after its answer.
//!
//! Many clients (Python's urllib and requests) read an answer only after they have sent the whole body. If a connection is closed
//! while bytes of the body are unread, the system resets it, and such a client gets an error in place of the answer. So the
//! gateway closes only its own direction, and reads on until the client closes too, within limits of bytes and time.

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::{Instant, timeout_at},
};

use crate::limits::{REFUSED_BODY_BYTES_MAX, REFUSED_BODY_PAUSE_MAX, REFUSED_BODY_PIECE_BYTES, REFUSED_BODY_TIMEOUT};

/// Reads and discards until the client closes its side, sends nothing for a while, or has sent too much for too long. The caller
/// has closed the other direction.
pub(super) async fn discard(stream: &mut (impl AsyncRead + Unpin)) {
    let end = Instant::now() + REFUSED_BODY_TIMEOUT;
    let mut piece = vec![0; REFUSED_BODY_PIECE_BYTES];
    let mut left = REFUSED_BODY_BYTES_MAX;
    while left > 0 {
        let pause_end = (Instant::now() + REFUSED_BODY_PAUSE_MAX).min(end);
        match timeout_at(pause_end, stream.read(&mut piece)).await {
            Ok(Ok(read @ 1..)) => left = left.saturating_sub(read),
            Ok(Ok(0) | Err(_)) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, time::sleep};

    use super::*;

    /// The seconds until a client is left that sends `bytes` every `pause` seconds, and how many of its bytes were read.
    async fn left_after(bytes: usize, pause: u64) -> (u64, usize) {
        let (mut client, mut server) = tokio::io::duplex(1 << 20);
        let started = Instant::now();
        let sending = tokio::spawn(async move {
            let mut sent = 0;
            while client.write_all(&vec![0; bytes]).await.is_ok() {
                sent += bytes;
                sleep(std::time::Duration::from_secs(pause)).await;
            }
            sent
        });
        discard(&mut server).await;
        let seconds = started.elapsed().as_secs();
        drop(server);
        (seconds, sending.await.unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_left_when_it_closes_or_pauses_or_goes_on_for_too_long() {
        let (mut client, mut server) = tokio::io::duplex(1 << 20);
        client.write_all(&[0; 1000]).await.unwrap();
        drop(client);
        discard(&mut server).await;
        assert_eq!(left_after(10, REFUSED_BODY_PAUSE_MAX.as_secs() + 1).await.0, REFUSED_BODY_PAUSE_MAX.as_secs());
        assert_eq!(left_after(10, 1).await.0, REFUSED_BODY_TIMEOUT.as_secs());
        let (seconds, sent) = left_after(1 << 19, 0).await;
        assert_eq!(seconds, 0);
        assert!((REFUSED_BODY_BYTES_MAX..REFUSED_BODY_BYTES_MAX + (2 << 20)).contains(&sent), "{sent}");
    }
}
