//! A network between a client and a server, which a test can cut.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Passes connections on while it is not cut. Dropping it cuts it for good.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    is_cut: Arc<watch::Sender<bool>>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Passes connections on to `target`.
    ///
    /// # Errors
    /// No port can be listened on.
    pub async fn to(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let is_cut = Arc::new(watch::Sender::new(false));
        let cut = is_cut.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut cut = cut.subscribe();
                tokio::spawn(async move {
                    tokio::select! {
                        biased;
                        // Dropping the connection closes it, as a network that goes away would in the end.
                        _ = cut.wait_for(|is_cut| *is_cut) => {}
                        () = pass(client, target) => {}
                    }
                });
            }
        });
        Ok(Self { address, is_cut, task })
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks every connection, and those that come.
    pub fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// Passes new connections on again.
    pub fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn pass(mut client: TcpStream, target: SocketAddr) {
    if let Ok(mut server) = TcpStream::connect(target).await {
        // Either side may end as it likes; nothing is to be said about it.
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
