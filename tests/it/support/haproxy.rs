//! HAProxy in front of some gateways: it checks the health of each at `/readyz`, and shares connections among requests.

use std::{
    fmt::Write,
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::net::TcpStream;

use super::{eventually, kinesis::Reservation};

/// The balancer. Its process ends when this is dropped.
pub struct HaProxy {
    child: Child,
    port: Reservation,
}

impl HaProxy {
    /// Whether the program is installed: `apt-get install haproxy`.
    pub fn is_installed() -> bool {
        Command::new("haproxy").arg("-v").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// In front of `gateways`, each of which is asked with `options` of a `server` line; its configuration is in `folder`. It calls
    /// a gateway down after two checks, 200 ms apart, and tries again only what never reached a gateway.
    pub async fn start(folder: &Path, gateways: &[SocketAddr], options: &str) -> Self {
        let port = Reservation::new();
        let mut config = format!(
            "global\n  maxconn 1000\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  \
             retries 3\n  option redispatch\n  option forwardfor\nfrontend events\n  bind {}\n  default_backend gateways\n\
             backend gateways\n  balance roundrobin\n  http-reuse always\n  option httpchk\n  http-check send meth GET uri /readyz ver \
             HTTP/1.1 hdr host localhost\n  http-check expect status 200\n  default-server check inter 200ms fall 2 rise 1 {options}\n",
            port.address()
        );
        for (number, address) in gateways.iter().enumerate() {
            let _ = writeln!(config, "  server gateway{number} {address}");
        }
        let file = folder.join("haproxy.cfg");
        fs::write(&file, config).expect("a file");
        let child = Command::new("haproxy").args(["-db", "-q", "-f"]).arg(file).stdin(Stdio::null()).spawn();
        let balancer = Self { child: child.expect("it is installed"), port };
        let address = balancer.address();
        eventually("HAProxy listens", Duration::from_secs(10), async || TcpStream::connect(address).await.is_ok()).await;
        balancer
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
